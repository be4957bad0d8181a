/* SPDX-License-Identifier: MIT */
/*
 * Files of a tokenizer that are no JSON, contradict themselves, or ask for what is not handled. What Jansson refuses
 * has a position; what only the parsed document shows has the name of its part instead.
 */
#include <check.h>
#include <string.h>

#include "base/mem.h"
#include "verify/tokenizer_impl.h"

Suite *hone_suite_tokenizer_files(void);

enum { DATA = HONE_ERROR_DATA, UNSUPPORTED = HONE_ERROR_UNSUPPORTED, LIMIT = HONE_ERROR_LIMIT, MAX_TEXT = 1024 };

#define MODEL(vocab, merges) "{\"model\":{\"type\":\"BPE\",\"vocab\":" vocab ",\"merges\":" merges "}"
#define AB MODEL("{\"a\":0,\"b\":1,\"ab\":2}", "[\"a b\"]")

/* Without a ^ no position can be told. */
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
    {"a list", "[]", DATA, "model"},
    {"no model", "{\"version\":\"1.0\"}", DATA, "model"},
    {"a model that is a string", "{\"model\":\"BPE\"}", DATA, "model"},
    {"WordPiece", "{\"model\":{\"type\":\"WordPiece\",\"vocab\":{},\"merges\":[]}}", UNSUPPORTED, "model"},
    {"Unigram", "{\"model\":{\"type\":\"Unigram\",\"vocab\":[],\"unk_id\":0}}", UNSUPPORTED, "model"},
    {"a type that is a number", "{\"model\":{\"type\":1,\"vocab\":{},\"merges\":[]}}", UNSUPPORTED, "model"},
    {"dropout", "{\"model\":{\"dropout\":0.1,\"vocab\":{},\"merges\":[]}}", UNSUPPORTED, "model"},
    {"a suffix of words", "{\"model\":{\"end_of_word_suffix\":\"</w>\",\"vocab\":{},\"merges\":[]}}", UNSUPPORTED,
     "model"},
    {"a vocabulary that is a list", MODEL("[]", "[]") "}", DATA, "model"},
    {"merges that are an object", MODEL("{\"a\":0}", "{}") "}", DATA, "model"},
    {"an id that is a string", MODEL("{\"a\":\"0\"}", "[]") "}", DATA, "model"},
    {"a negative id", MODEL("{\"a\":-1}", "[]") "}", DATA, "model"},
    {"a fractional id", MODEL("{\"a\":0.5}", "[]") "}", DATA, "model"},
    {"an id of 2^40 among one token", MODEL("{\"a\":1099511627776}", "[]") "}", LIMIT, "model"},
    {"one id for two tokens", MODEL("{\"a\":0,\"b\":0}", "[]") "}", DATA, "model"},
    {"an unknown token that is not there", "{\"model\":{\"unk_token\":\"<unk>\",\"vocab\":{\"a\":0},\"merges\":[]}}",
     DATA, "model"},
    {"a merge of one token", MODEL("{\"a\":0}", "[\"a\"]") "}", DATA, "merges"},
    {"a merge of three tokens", MODEL("{\"a\":0}", "[\"a a a\"]") "}", DATA, "merges"},
    {"a merge that is a number", MODEL("{\"a\":0}", "[1]") "}", DATA, "merges"},
    {"a merge of three strings", MODEL("{\"a\":0}", "[[\"a\",\"a\",\"a\"]]") "}", DATA, "merges"},
    {"an added token without text", AB ",\"added_tokens\":[{\"id\":3}]}", DATA, "added_tokens"},
    {"an added token without an id", AB ",\"added_tokens\":[{\"content\":\"x\"}]}", DATA, "added_tokens"},
    {"an added token of id 2^40", AB ",\"added_tokens\":[{\"id\":1099511627776,\"content\":\"x\"}]}", LIMIT, "model"},
    {"a post-processor of another type", AB ",\"post_processor\":{\"type\":\"X\"}}", UNSUPPORTED, "post_processor"},
    {"a template without a text", AB ",\"post_processor\":{\"type\":\"TemplateProcessing\",\"single\":[]}}", DATA,
     "post_processor"},
    {"a template that is no list", AB ",\"post_processor\":{\"type\":\"TemplateProcessing\",\"single\":1}}", DATA,
     "post_processor"},
    {"a template of an unknown token",
     AB ",\"post_processor\":{\"type\":\"TemplateProcessing\",\"single\":[{\"SpecialToken\":{\"id\":\"x\"}}]}}", DATA,
     "post_processor"},
    {"a separator outside the vocabulary",
     AB ",\"post_processor\":{\"type\":\"BertProcessing\",\"sep\":[\"x\",9],\"cls\":[\"x\",9]}}", DATA,
     "post_processor"},
};

static size_t unmark(const char *marked, char *text, uint64_t *at)
{
    const size_t before = strcspn(marked, "^");
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
    {"an id that is a string", "{\"a\":\"0\"}", "", DATA, "model"},
    {"a negative id", "{\"a\":-1}", "", DATA, "model"},
    {"an id of 2^40", "{\"a\":1099511627776}", "", LIMIT, "model"},
    {"a vocabulary that is a list", "[]", "", DATA, "model"},
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
    const hone_status status = hone_tokenizer_from_merges(vocab, vocab_len, merges, merges_len, tok, &err);
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

#define COUNT(table) ((int)(sizeof(table) / sizeof(table)[0]))

Suite *hone_suite_tokenizer_files(void)
{
    Suite *suite = suite_create("tokenizer_files");
    TCase *bad = tcase_create("malformed");
    tcase_add_test(bad, accepts_the_document_that_is_damaged);
    tcase_add_loop_test(bad, rejects_malformed_document, 0, COUNT(documents));
    tcase_add_loop_test(bad, rejects_malformed_pair_of_files, 0, COUNT(pairs));
    suite_add_tcase(suite, bad);
    return suite;
}
