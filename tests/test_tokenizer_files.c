/* SPDX-License-Identifier: MIT */
/*
 * Files of a tokenizer that are no JSON, contradict themselves, or ask for what is not handled. Each error has the
 * position of the value at fault, or of the object that lacks it.
 */
#include <check.h>
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "verify/tokenizer_files.h"

Suite *hone_suite_tokenizer_files(void);

enum { DATA = HONE_ERROR_DATA, UNSUPPORTED = HONE_ERROR_UNSUPPORTED, LIMIT = HONE_ERROR_LIMIT, MAX_TEXT = 1024 };

#define MODEL(vocab, merges) "{\"model\":{\"type\":\"BPE\",\"vocab\":" vocab ",\"merges\":" merges "}"
#define AB MODEL("{\"a\":0,\"b\":1,\"ab\":2}", "[\"a b\"]")

#define WORDPIECE(option) "{\"model\":{\"type\":\"WordPiece\"," option ",\"vocab\":{\"[UNK]\":0}}}"

/* A ^ marks the position. */
static const struct {
    const char *claim, *text;
    int status;
    const char *item;
} documents[] = {
    {"an empty file", "^", DATA, ""},
    {"text", "hello^", DATA, ""},
    {"a document cut short", "{\"model\":{^", DATA, ""},
    {"a document that goes on", AB "} {^}", DATA, ""},
    {"a token twice", "{\"model\":{\"vocab\":{\"a\":0,\"a\"^:1},\"merges\":[]}}", DATA, ""},
    {"a token that is half a surrogate pair", "{\"model\":{\"vocab\":{\"\\ud800\"^:0},\"merges\":[]}}", DATA, ""},
    {"a token that is no UTF-8", "{\"model\":{\"vocab\":{\"^\xff\":0},\"merges\":[]}}", DATA, ""},
    {"a list", "^[]", DATA, "model"},
    {"no model", "^{\"version\":\"1.0\"}", DATA, "model"},
    {"a model that is a string", "{\"model\":^\"BPE\"}", DATA, "model"},
    {"WordPiece without its unknown token", "{\"model\":^{\"type\":\"WordPiece\",\"vocab\":{\"a\":0}}}", DATA, "model"},
    {"WordPiece with a vocabulary that is a list", "{\"model\":{\"type\":\"WordPiece\",\"vocab\":^[\"a\"]}}", DATA,
     "model"},
    {"words of half a character", WORDPIECE("\"max_input_chars_per_word\":^0.5"), DATA, "model"},
    {"words of -1 characters", WORDPIECE("\"max_input_chars_per_word\":^-1"), DATA, "model"},
    {"words of 2^40 characters", WORDPIECE("\"max_input_chars_per_word\":^1099511627776"), LIMIT, "model"},
    {"Unigram", "{\"model\":{\"type\":^\"Unigram\",\"vocab\":[],\"unk_id\":0}}", UNSUPPORTED, "model"},
    {"a type that is a number", "{\"model\":{\"type\":^1,\"vocab\":{},\"merges\":[]}}", UNSUPPORTED, "model"},
    {"dropout", "{\"model\":{\"dropout\":^0.1,\"vocab\":{},\"merges\":[]}}", UNSUPPORTED, "model"},
    {"a suffix of words", "{\"model\":{\"end_of_word_suffix\":^\"</w>\",\"vocab\":{},\"merges\":[]}}", UNSUPPORTED,
     "model"},
    {"a vocabulary that is a list", MODEL("^[]", "[]") "}", DATA, "model"},
    {"merges that are an object", MODEL("{\"a\":0}", "^{}") "}", DATA, "model"},
    {"an id that is a string", MODEL("{\"a\":^\"0\"}", "[]") "}", DATA, "model"},
    {"a negative id", MODEL("{\"a\":^-1}", "[]") "}", DATA, "model"},
    {"a fractional id", MODEL("{\"a\":^0.5}", "[]") "}", DATA, "model"},
    {"an id of 2^40 among one token", MODEL("{\"a\":^1099511627776}", "[]") "}", LIMIT, "model"},
    {"one id for two tokens", MODEL("{\"a\":0,\"b\":^0}", "[]") "}", DATA, "model"},
    {"an unknown token that is not there", "{\"model\":{\"unk_token\":^\"<unk>\",\"vocab\":{\"a\":0},\"merges\":[]}}",
     DATA, "model"},
    {"a merge of one token", MODEL("{\"a\":0}", "[^\"a\"]") "}", DATA, "merges"},
    {"a merge of three tokens", MODEL("{\"a\":0}", "[^\"a a a\"]") "}", DATA, "merges"},
    {"a merge that is a number", MODEL("{\"a\":0}", "[^1]") "}", DATA, "merges"},
    {"a merge of three strings", MODEL("{\"a\":0}", "[^[\"a\",\"a\",\"a\"]]") "}", DATA, "merges"},
    {"an added token without text", AB ",\"added_tokens\":[^{\"id\":3}]}", DATA, "added_tokens"},
    {"an added token without an id", AB ",\"added_tokens\":[^{\"content\":\"x\"}]}", DATA, "added_tokens"},
    {"an added token of id 2^40", AB ",\"added_tokens\":[{\"id\":^1099511627776,\"content\":\"x\"}]}", LIMIT, "model"},
    {"a post-processor of another type", AB ",\"post_processor\":{\"type\":^\"X\"}}", UNSUPPORTED, "post_processor"},
    {"a template without a text", AB ",\"post_processor\":{\"type\":\"TemplateProcessing\",\"single\":^[]}}", DATA,
     "post_processor"},
    {"a template that is no list", AB ",\"post_processor\":{\"type\":\"TemplateProcessing\",\"single\":^1}}", DATA,
     "post_processor"},
    {"a template of an unknown token",
     AB ",\"post_processor\":{\"type\":\"TemplateProcessing\",\"single\":[^{\"SpecialToken\":{\"id\":\"x\"}}]}}", DATA,
     "post_processor"},
    {"a separator outside the vocabulary",
     AB ",\"post_processor\":{\"type\":\"BertProcessing\",\"sep\":[\"x\",9],\"cls\":[\"x\",^9]}}", DATA,
     "post_processor"},
    {"a normalizer of another type", AB ",\"normalizer\":^{\"type\":\"X\"}}", UNSUPPORTED, "normalizer"},
    {"a normalizer without a type",
     AB ",\"normalizer\":{\"type\":\"Sequence\",\"normalizers\":[{\"type\":\"NFC\"},^{}]}}", DATA, "normalizer"},
    {"a pre-tokenizer without its pattern", AB ",\"pre_tokenizer\":^{\"type\":\"Split\"}}", DATA, "pre_tokenizer"},
    {"a regular expression that is none",
     AB ",\"pre_tokenizer\":^{\"type\":\"Split\",\"behavior\":\"Isolated\",\"pattern\":{\"Regex\":\"(\"}}}",
     UNSUPPORTED, ""},
    {"a merge of what is no token", MODEL("{\"a\":0}", "[^\"a b\"]") "}", DATA, "merges"},
};

static size_t unmark(const char *marked, char *text, uint64_t *at)
{
    const size_t before = strcspn(marked, "^"); /* none: no position can be told */
    *at = marked[before] ? before : HONE_NO_OFFSET;
    memcpy(text, marked, before);
    strcpy(text + before, marked + before + (marked[before] == '^'));
    return strlen(text);
}

static void expect(const char *claim, hone_status got, const hone_error *err, int status, uint64_t at, const char *item)
{
    ck_assert_msg((int)got == status && err->status == got, "%s: %s (%s)", claim, hone_status_name(got), err->reason);
    ck_assert_msg(err->offset == at, "%s: offset %lld, not %lld (%s)", claim, (long long)err->offset, (long long)at,
                  err->reason);
    ck_assert_msg(strcmp(err->item, item) == 0, "%s: item \"%s\" (%s)", claim, err->item, err->reason);
}

static hone_tokenizer *new_tokenizer(void)
{
    hone_tokenizer *tok = hone_calloc(1, sizeof *tok);
    ck_assert_ptr_nonnull(tok);
    tok->bpe.unk = tok->spm.unk = -1;
    return tok;
}

START_TEST(rejects_malformed_document)
{
    char text[MAX_TEXT];
    uint64_t at;
    const size_t len = unmark(documents[_i].text, text, &at);
    hone_tokenizer *tok = new_tokenizer();
    hone_error err;
    const hone_status status = hone_tokenizer_from_json(text, len, tok, &err);
    expect(documents[_i].claim, status, &err, documents[_i].status, at, documents[_i].item);
    hone_tokenizer_free(tok);
}
END_TEST

/* A ^ in either file marks the position in it. */
static const struct {
    const char *claim, *vocab, *merges;
    int status;
    const char *item;
} pairs[] = {
    {"an empty vocabulary file", "^", "", DATA, ""},
    {"a vocabulary cut short", "{\"a\":0^", "", DATA, ""},
    {"a token twice", "{\"a\":0,\"a\"^:1}", "", DATA, ""},
    {"an id that is a string", "{\"a\":^\"0\"}", "", DATA, "model"},
    {"a negative id", "{\"a\":^-1}", "", DATA, "model"},
    {"an id of 2^40", "{\"a\":^1099511627776}", "", LIMIT, "model"},
    {"a vocabulary that is a list", "^[]", "", DATA, "model"},
    {"merges that are no UTF-8", "{\"a\":0}", "#version\na ^\xff\n", DATA, ""},
    {"a merge of one token", "{\"a\":0}", "#version\n^a\n", DATA, ""},
    {"a merge of three tokens", "{\"a\":0}", "^a a a\n", DATA, ""},
};

START_TEST(rejects_malformed_pair_of_files)
{
    char vocab[MAX_TEXT], merges[MAX_TEXT];
    uint64_t at, in_merges;
    const size_t vocab_len = unmark(pairs[_i].vocab, vocab, &at);
    const size_t merges_len = unmark(pairs[_i].merges, merges, &in_merges);
    hone_tokenizer *tok = new_tokenizer();
    hone_error err;
    hone_tokenizer_config config = {.settings = json_object(), .added = json_array()};
    const hone_status status = hone_tokenizer_from_merges(&config, vocab, vocab_len, merges, merges_len, tok, &err);
    hone_tokenizer_config_deinit(&config);
    expect(pairs[_i].claim, status, &err, pairs[_i].status, in_merges != HONE_NO_OFFSET ? in_merges : at,
           pairs[_i].item);
    hone_tokenizer_free(tok);
}
END_TEST

START_TEST(accepts_the_document_that_is_damaged)
{
    hone_tokenizer *tok = new_tokenizer();
    hone_error err;
    const hone_status status = hone_tokenizer_from_json(AB "}", strlen(AB "}"), tok, &err);
    ck_assert_msg(status == HONE_OK, "%s", err.reason);
    ck_assert_uint_eq(tok->n_vocab, 3);
    hone_tokenizer_free(tok);
}
END_TEST

/* vocab.txt; {settings} is its tokenizer_config.json. */
#define SPECIAL "[UNK]\n[CLS]\n[SEP]\n"

static const struct {
    const char *claim, *text, *settings;
    int status;
    const char *item;
} vocab_files[] = {
    {"an empty file", "^", "{}", DATA, "unk_token"},
    {"no unknown token", "[CLS]\n[SEP]\n^", "{}", DATA, "unk_token"},
    {"no token for the beginning", "[UNK]\n[SEP]\n^", "{}", DATA, "cls_token"},
    {"no token for the end", "[UNK]\n[CLS]\n^", "{}", DATA, "sep_token"},
    {"an unknown token of another name", SPECIAL "^", "{\"unk_token\":\"<unk>\"}", DATA, "unk_token"},
    {"no unknown token by the settings", SPECIAL "^", "{\"unk_token\":null}", DATA, "unk_token"},
    {"a byte that begins no character", SPECIAL "a^\xff\n", "{}", DATA, ""},
    {"a character cut short", SPECIAL "^\xed\x95", "{}", DATA, ""},
    {"half a surrogate pair", SPECIAL "^\xed\xa0\x80\n", "{}", DATA, ""},
    {"a class of other rules", SPECIAL, "{\"tokenizer_class\":\"BertJapaneseTokenizer\"}", UNSUPPORTED,
     "tokenizer_class"},
};

START_TEST(rejects_malformed_vocab_txt)
{
    char text[MAX_TEXT];
    uint64_t at;
    const size_t len = unmark(vocab_files[_i].text, text, &at);
    hone_tokenizer *tok = new_tokenizer();
    hone_error err;
    hone_tokenizer_config config = {.settings = json_loads(vocab_files[_i].settings, 0, NULL), .added = json_array()};
    const hone_status status = hone_tokenizer_from_vocab_txt(&config, text, len, tok, &err);
    expect(vocab_files[_i].claim, status, &err, vocab_files[_i].status, at, vocab_files[_i].item);
    hone_tokenizer_config_deinit(&config);
    hone_tokenizer_free(tok);
}
END_TEST

static void expect_vocab_txt(const char *text, size_t len, const char *claim, int expected, uint64_t at)
{
    hone_tokenizer *tok = new_tokenizer();
    hone_error err;
    hone_tokenizer_config config = {.settings = json_object(), .added = json_array()};
    expect(claim, hone_tokenizer_from_vocab_txt(&config, text, len, tok, &err), &err, expected, at, "");
    hone_tokenizer_config_deinit(&config);
    hone_tokenizer_free(tok);
}

START_TEST(rejects_nul_and_too_many_lines_in_vocab_txt)
{
    expect_vocab_txt(SPECIAL "a\0b\n", strlen(SPECIAL) + 4, "a NUL", DATA, strlen(SPECIAL) + 1);
    const size_t n = (size_t)HONE_MAX_VOCAB_LINES + 1;
    char *lines = hone_alloc(n, 1);
    ck_assert_ptr_nonnull(lines);
    memset(lines, '\n', n);
    expect_vocab_txt(lines, n, "lines without end", LIMIT, HONE_MAX_VOCAB_LINES);
    hone_release(lines);
}
END_TEST

/* Ids of text, as "1 2 3", by a vocab.txt and its settings. */
static void expect_ids(const char *vocab, hone_tokenizer_config *config, const char *text, const char *expected)
{
    hone_tokenizer *tok = new_tokenizer();
    hone_error err;
    ck_assert_msg(hone_tokenizer_from_vocab_txt(config, vocab, strlen(vocab), tok, &err) == HONE_OK, "%s", err.reason);
    int32_t *ids;
    size_t n, at = 0;
    ck_assert_int_eq(hone_tokenizer_encode(tok, text, strlen(text), true, true, &ids, &n, &err), HONE_OK);
    char got[MAX_TEXT] = "";
    for (size_t i = 0; i < n && at + 16 < sizeof got; i++)
        at += (size_t)snprintf(got + at, sizeof got - at, i ? " %d" : "%d", (int)ids[i]);
    ck_assert_str_eq(got, expected);
    hone_tokens_free(ids);
    hone_tokenizer_free(tok);
    hone_tokenizer_config_deinit(config);
}

#define SETTINGS(text)                                                                                                 \
    &(hone_tokenizer_config)                                                                                           \
    {                                                                                                                  \
        .settings = json_loads(text, 0, NULL), .added = json_array()                                                   \
    }

START_TEST(splits_words_by_vocab_txt)
{
    /* 3 play, 4 ##ing, 5 ##ed, 6 !, 7 an ideograph, 8 e, 9 a syllable, 10 to 12 its parts */
    static const char vocab[] =
        SPECIAL "play\n##ing\n##ed\n!\n\xe4\xb8\xad\ne\n\xed\x95\x9c\n\xe1\x84\x92\n##\xe1\x85\xa1\n"
                "##\xe1\x86\xab\n";
    expect_ids(vocab, SETTINGS("{}"), "Playing  played!", "1 3 4 3 5 6 2");
    /* One unknown stretch makes the whole word unknown. */
    expect_ids(vocab, SETTINGS("{}"), "playings play", "1 0 3 2");
    /* An ideograph and a mark stand alone, accents and control characters vanish. */
    expect_ids(vocab, SETTINGS("{}"), "play\xe4\xb8\xadplay! \xc3\xa9\x01 \xef\xbf\xbd", "1 3 7 3 6 8 2");
    /* Where accents are stripped syllables fall apart. */
    expect_ids(vocab, SETTINGS("{}"), "\xed\x95\x9c", "1 10 11 12 2");
    expect_ids(vocab, SETTINGS("{\"do_lower_case\":false}"), "\xed\x95\x9c Play", "1 9 0 2");
    expect_ids(vocab, SETTINGS("{\"cls_token\":\"e\",\"sep_token\":\"!\"}"), "play[SEP]", "8 3 0 0 0 6");
}
END_TEST

START_TEST(takes_lines_of_vocab_txt_as_tokenizers_does)
{
    /* White space behind a token is none of it, an empty line is a token nothing matches, of two equal ones the last
     * counts, and the last needs no end. */
    expect_ids("[UNK]\r\n[CLS]  \n[SEP]\n\na\na\nb", SETTINGS("{}"), "a b", "1 5 6 2");
    /* A word of 101 characters is unknown, of 100 it is not. */
    char text[203];
    memset(text, 'a', sizeof text);
    text[100] = ' ';
    text[202] = '\0';
    char vocab[256];
    (void)snprintf(vocab, sizeof vocab, SPECIAL "%.100s\n", text);
    expect_ids(vocab, SETTINGS("{}"), text, "1 3 0 2");
}
END_TEST

/* The ids that added tokens get: settings and added_tokens.json as they are read. */
START_TEST(gives_added_tokens_ids)
{
    static const struct {
        const char *claim, *added;
        int status;
        const char *item;
    } cases[] = {
        {"the next id", "[{s:s,s:i}]", HONE_OK, ""},
        {"an id that leaves a gap", "[{s:s,s:i}]", DATA, "x"},
    };
    for (int i = 0; i < 2; i++) {
        json_t *vocab = json_pack("{s:i}", "<|endoftext|>", 0);
        hone_tokenizer_config config = {.settings = json_object(),
                                        .added = json_pack(cases[i].added, "content", "x", "id", 1 + i)};
        hone_error err = {0};
        const hone_status status = hone_tokenizer_config_resolve(&config, &hone_gpt2_tokenizer_class, vocab, &err);
        ck_assert_msg((int)status == cases[i].status, "%s: %s", cases[i].claim, err.reason);
        ck_assert_str_eq(err.item, cases[i].item);
        if (status == HONE_OK) {
            ck_assert_uint_eq(json_array_size(config.added), 2);
            ck_assert_int_eq(json_integer_value(json_object_get(json_array_get(config.added, 1), "id")), 0);
        }
        hone_tokenizer_config_deinit(&config);
        json_decref(vocab);
    }
}
END_TEST

#define COUNT(table) ((int)(sizeof(table) / sizeof(table)[0]))

Suite *hone_suite_tokenizer_files(void)
{
    Suite *suite = suite_create("tokenizer_files");
    TCase *bad = tcase_create("malformed");
    tcase_add_test(bad, accepts_the_document_that_is_damaged);
    tcase_add_loop_test(bad, rejects_malformed_document, 0, COUNT(documents));
    tcase_add_loop_test(bad, rejects_malformed_pair_of_files, 0, COUNT(pairs));
    tcase_add_loop_test(bad, rejects_malformed_vocab_txt, 0, COUNT(vocab_files));
    tcase_add_test(bad, rejects_nul_and_too_many_lines_in_vocab_txt);
    suite_add_tcase(suite, bad);
    TCase *core = tcase_create("core");
    tcase_add_test(core, splits_words_by_vocab_txt);
    tcase_add_test(core, takes_lines_of_vocab_txt_as_tokenizers_does);
    tcase_add_test(core, gives_added_tokens_ids);
    suite_add_tcase(suite, core);
    return suite;
}
