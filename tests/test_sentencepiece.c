/* SPDX-License-Identifier: MIT */
#include <check.h>
#include <string.h>

#include "formats/sentencepiece.h"
#include "tests/support/byte_builder.h"
#include "tests/support/opening.h"
#include "tests/support/temp_dir.h"

Suite *hone_suite_sentencepiece(void);

/* One piece "a". */
#define PIECE "f=1:2 { f=1:2 { raw=a } f=2:5 f32=-1 f=3:0 var=1 } "

static const struct {
    const char *claim, *script;
    hone_status status;
} malformed[] = {
    {"an empty file", "^", HONE_ERROR_FORMAT},
    {"no pieces", "^ f=2:2 { f=3:0 var=2 }", HONE_ERROR_FORMAT},
    {"text", "raw=he ^ raw=llo", HONE_ERROR_DATA},
    {"a tag cut short", PIECE "^ u8=0x80", HONE_ERROR_DATA},
    {"a tag of eleven bytes", PIECE "^ raw=\\xff\\xff\\xff\\xff\\xff\\xff\\xff\\xff\\xff\\xff\\x01", HONE_ERROR_DATA},
    {"a varint beyond 64 bits", PIECE "^ f=9:0 raw=\\xff\\xff\\xff\\xff\\xff\\xff\\xff\\xff\\xff\\x02",
     HONE_ERROR_DATA},
    {"field number 0", PIECE "^ f=0:0 var=1", HONE_ERROR_DATA},
    {"a field number beyond 2^29", PIECE "^ f=536870912:0 var=1", HONE_ERROR_DATA},
    {"a group", PIECE "^ f=9:3 f=9:4", HONE_ERROR_DATA},
    {"wire type 7", PIECE "^ f=9:7 var=1", HONE_ERROR_DATA},
    {"a piece past the end", "^ f=1:2 var=9 f=1:2 { raw=a }", HONE_ERROR_DATA},
    {"a length of 2^63", "^ f=1:2 var=0x8000000000000000 zero=30", HONE_ERROR_DATA},
    {"a length of 2^64 - 1", "^ f=1:2 var=-1 zero=30", HONE_ERROR_DATA},
    {"text past the end of its piece", "f=1:2 { ^ f=1:2 var=3 raw=ab } " PIECE, HONE_ERROR_DATA},
    {"a score cut short", "f=1:2 { f=1:2 { raw=a } ^ f=2:5 u16=0 }", HONE_ERROR_DATA},
    {"a piece that is a number", "^ f=1:0 var=1", HONE_ERROR_DATA},
    {"a piece without text", PIECE "f=1:2 { ^ f=2:5 f32=1 }", HONE_ERROR_DATA},
    {"a piece whose text is a number", "f=1:2 { ^ f=1:0 var=1 }", HONE_ERROR_DATA},
    {"a score that is a varint", "f=1:2 { f=1:2 { raw=a } ^ f=2:0 var=1 }", HONE_ERROR_DATA},
    {"type 0", "f=1:2 { f=1:2 { raw=a } ^ f=3:0 var=0 }", HONE_ERROR_DATA},
    {"type 7", "f=1:2 { f=1:2 { raw=a } ^ f=3:0 var=7 }", HONE_ERROR_DATA},
    {"type -1", "f=1:2 { f=1:2 { raw=a } ^ f=3:0 var=-1 }", HONE_ERROR_DATA},
    {"model type 5", PIECE "f=2:2 { ^ f=3:0 var=5 }", HONE_ERROR_DATA},
    {"an unk_id beyond 32 bits", PIECE "f=2:2 { f=3:0 var=2 ^ f=40:0 var=0x100000000 }", HONE_ERROR_DATA},
    {"a bos_id that is a string", PIECE "f=2:2 { ^ f=41:2 { raw=1 } }", HONE_ERROR_DATA},
    {"a trainer that is a number", PIECE "^ f=2:0 var=1", HONE_ERROR_DATA},
    {"a trainer cut short", PIECE "^ f=2:2 var=5 f=3:0 var=1", HONE_ERROR_DATA},
    {"a normalizer that is a number", PIECE "^ f=3:5 u32=1", HONE_ERROR_DATA},
    {"a charsmap past the end", PIECE "f=3:2 { ^ f=2:2 var=100 zero=5 }", HONE_ERROR_DATA},
    {"a flag that is a string", PIECE "f=3:2 { ^ f=3:2 { raw=1 } }", HONE_ERROR_DATA},
    {"nesting that ends outside", "f=1:2 { ^ f=9:2 var=200 } " PIECE, HONE_ERROR_DATA},
};

static hone_status parse(const char *script, size_t *mark, hone_sentencepiece *sp, hone_error *err)
{
    hone_bytes b = {0};
    hone_bytes_script(&b, script);
    const hone_status status = hone_sentencepiece_parse(b.data, b.n, sp, err);
    if (mark)
        *mark = b.mark;
    hone_bytes_free(&b);
    return status;
}

START_TEST(rejects_malformed_model)
{
    size_t mark;
    hone_sentencepiece sp;
    hone_error err;
    const hone_status status = parse(malformed[_i].script, &mark, &sp, &err);
    ck_assert_msg(status == malformed[_i].status && err.status == status, "%s: %s (%s)", malformed[_i].claim,
                  hone_status_name(status), err.reason);
    ck_assert_msg(err.offset == mark, "%s: offset %llu, not %zu (%s)", malformed[_i].claim,
                  (unsigned long long)err.offset, mark, err.reason);
    ck_assert_ptr_null(sp.pieces);
    ck_assert_uint_eq(sp.n_pieces, 0);
}
END_TEST

START_TEST(absent_fields_have_the_defaults_of_the_format)
{
    hone_sentencepiece sp;
    ck_assert_int_eq(
        parse("f=1:2 { f=1:2 { raw=a } } f=1:2 { f=1:2 { raw=b } } f=1:2 { f=1:2 { raw=c } }", NULL, &sp, NULL),
        HONE_OK);
    ck_assert_uint_eq(sp.n_pieces, 3);
    ck_assert_int_eq(sp.pieces[0].type, HONE_PIECE_NORMAL);
    ck_assert(sp.pieces[0].score == 0.0f);
    ck_assert_int_eq(sp.model_type, HONE_SENTENCEPIECE_UNIGRAM);
    ck_assert(!sp.byte_fallback);
    ck_assert_int_eq(sp.unk_id, 0);
    ck_assert_int_eq(sp.bos_id, 1);
    ck_assert_int_eq(sp.eos_id, 2);
    ck_assert_int_eq(sp.pad_id, -1);
    ck_assert(sp.add_dummy_prefix && sp.remove_extra_whitespaces && sp.escape_whitespaces);
    ck_assert_uint_eq(sp.charsmap.len, 0);
    hone_sentencepiece_deinit(&sp);
}
END_TEST

START_TEST(reads_every_field)
{
    hone_sentencepiece sp;
    hone_error err;
    const hone_status status = parse(
        "f=1:2 { f=1:2 { raw=<unk> } f=2:5 f32=0 f=3:0 var=2 } f=1:2 { f=3:0 var=6 f=2:5 f32=-1.5 f=1:2 { raw=<0x0A> } "
        "} "
        "f=3:2 { f=1:2 { raw=nmt_nfkc } f=2:2 { raw=\\x00\\x01 } f=3:0 var=0 f=4:0 var=0 f=5:0 var=0 } "
        "f=2:2 { f=1:2 { raw=x.txt } f=3:0 var=2 f=35:0 var=1 f=40:0 var=1 f=41:0 var=0 f=42:0 var=-1 f=43:0 var=7 }",
        NULL, &sp, &err);
    ck_assert_msg(status == HONE_OK, "%s", err.reason);
    ck_assert_str_eq(sp.pieces[0].text.data, "<unk>");
    ck_assert_int_eq(sp.pieces[0].type, HONE_PIECE_UNKNOWN);
    ck_assert_str_eq(sp.pieces[1].text.data, "<0x0A>");
    ck_assert_int_eq(sp.pieces[1].type, HONE_PIECE_BYTE);
    ck_assert(sp.pieces[1].score == -1.5f);
    ck_assert_int_eq(sp.model_type, HONE_SENTENCEPIECE_BPE);
    ck_assert(sp.byte_fallback);
    ck_assert_int_eq(sp.unk_id, 1);
    ck_assert_int_eq(sp.bos_id, 0);
    ck_assert_int_eq(sp.eos_id, -1);
    ck_assert_int_eq(sp.pad_id, -1); /* beyond the two pieces */
    ck_assert(!sp.add_dummy_prefix && !sp.remove_extra_whitespaces && !sp.escape_whitespaces);
    ck_assert_uint_eq(sp.charsmap.len, 2);
    ck_assert_int_eq(memcmp(sp.charsmap.data, "\0\1", 2), 0);
    hone_sentencepiece_deinit(&sp);
}
END_TEST

START_TEST(unknown_fields_are_skipped)
{
    hone_sentencepiece sp;
    ck_assert_int_eq(parse("f=9:0 var=-1 f=10:1 u64=5 f=11:2 { raw=xyz } f=12:5 u32=3 f=536870911:0 var=0 "
                           "f=1:2 { f=77:2 { raw=q } f=1:2 { raw=a } f=78:1 u64=0 }",
                           NULL, &sp, NULL),
                     HONE_OK);
    ck_assert_uint_eq(sp.n_pieces, 1);
    ck_assert_str_eq(sp.pieces[0].text.data, "a");
    hone_sentencepiece_deinit(&sp);
}
END_TEST

START_TEST(split_messages_are_merged)
{
    hone_sentencepiece sp;
    ck_assert_int_eq(parse("f=2:2 { f=3:0 var=2 } " PIECE "f=2:2 { f=35:0 var=1 }", NULL, &sp, NULL), HONE_OK);
    ck_assert_int_eq(sp.model_type, HONE_SENTENCEPIECE_BPE);
    ck_assert(sp.byte_fallback);
    hone_sentencepiece_deinit(&sp);
}
END_TEST

START_TEST(a_file_is_named_in_its_error)
{
    hone_temp_dir dir;
    hone_temp_dir_init(&dir);
    hone_sentencepiece sp;
    hone_error err;
    ck_assert_int_eq(hone_sentencepiece_read(hone_temp_path(&dir, "absent"), &sp, &err), HONE_ERROR_ARG);
    ck_assert_str_eq(err.file, dir.last);
    ck_assert_int_eq(hone_sentencepiece_read(hone_temp_text(&dir, "x.model", "hello"), &sp, &err), HONE_ERROR_DATA);
    ck_assert_str_eq(err.file, dir.last);
    ck_assert_ptr_null(sp.pieces);
    hone_temp_dir_deinit(&dir);
}
END_TEST

static hone_status parse_once(void *user)
{
    (void)user;
    hone_sentencepiece sp;
    const hone_status status = parse(PIECE PIECE "f=3:2 { f=2:2 { raw=abc } }", NULL, &sp, NULL);
    if (status == HONE_OK)
        hone_sentencepiece_deinit(&sp);
    else
        ck_assert_ptr_null(sp.pieces);
    return status;
}

START_TEST(every_failing_allocation_is_reported)
{
    fail_each_allocation(parse_once, NULL, 2);
}
END_TEST

/* Figures from the sentencepiece package, 0.2. */
static const struct {
    const char *file;
    size_t n_pieces;
    hone_sentencepiece_model model_type;
    size_t sample;
    const char *text;
    float score;
} real[] = {
    {"tokenizers/llama2/tokenizer.model", 32000, HONE_SENTENCEPIECE_BPE, 263,
     "\xe2\x96\x81"
     "a",
     -4.0f},
    {"lit-llama/tokenizer.model", 4096, HONE_SENTENCEPIECE_BPE, 263,
     "\xe2\x96\x81"
     "s",
     -4.0f},
    {"bitnet-3m/tokenizer.model", 512, HONE_SENTENCEPIECE_BPE, 263,
     "\xe2\x96\x81"
     "w",
     -4.0f},
};

START_TEST(reads_real_models)
{
    const char *path = hone_test_model(real[_i].file);
    if (!path)
        return;
    hone_sentencepiece sp;
    hone_error err;
    const hone_status status = hone_sentencepiece_read(path, &sp, &err);
    ck_assert_msg(status == HONE_OK, "%s", err.reason);
    ck_assert_uint_eq(sp.n_pieces, real[_i].n_pieces);
    ck_assert_int_eq(sp.model_type, real[_i].model_type);
    ck_assert(sp.byte_fallback && sp.add_dummy_prefix);
    ck_assert_int_eq(sp.pieces[0].type, HONE_PIECE_UNKNOWN);
    ck_assert_int_eq(sp.pieces[1].type, HONE_PIECE_CONTROL);
    ck_assert_int_eq(sp.pieces[3].type, HONE_PIECE_BYTE);
    ck_assert_str_eq(sp.pieces[3].text.data, "<0x00>");
    ck_assert_str_eq(sp.pieces[real[_i].sample].text.data, real[_i].text);
    ck_assert(sp.pieces[real[_i].sample].score == real[_i].score);
    hone_sentencepiece_deinit(&sp);
}
END_TEST

Suite *hone_suite_sentencepiece(void)
{
    Suite *suite = suite_create("sentencepiece");
    TCase *core = tcase_create("core");
    tcase_add_test(core, absent_fields_have_the_defaults_of_the_format);
    tcase_add_test(core, reads_every_field);
    tcase_add_test(core, unknown_fields_are_skipped);
    tcase_add_test(core, split_messages_are_merged);
    tcase_add_test(core, a_file_is_named_in_its_error);
    tcase_add_test(core, every_failing_allocation_is_reported);
    tcase_add_loop_test(core, reads_real_models, 0, (int)(sizeof real / sizeof real[0]));
    suite_add_tcase(suite, core);
    TCase *bad = tcase_create("malformed");
    tcase_add_loop_test(bad, rejects_malformed_model, 0, (int)(sizeof malformed / sizeof malformed[0]));
    suite_add_tcase(suite, bad);
    return suite;
}
