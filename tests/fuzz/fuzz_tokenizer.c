/* SPDX-License-Identifier: MIT */
#include "tests/fuzz/fuzz_target.h"

#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "formats/json.h"
#include "hone/hone.h"
#include "verify/tokenizer_files.h"

static void encode(hone_tokenizer *tok)
{
    static const char text[] = "a bc  Hello\n12345 \xc3\xa9\xe2\x96\x81<s></s> world";
    int32_t *ids;
    size_t n;
    hone_error err;
    if (hone_tokenizer_encode(tok, text, sizeof text - 1, true, true, &ids, &n, &err) != HONE_OK)
        return;
    for (size_t i = 0; i < n; i++)
        if (ids[i] < 0 || (size_t)ids[i] >= hone_tokenizer_n_vocab(tok))
            abort();
    hone_tokens_free(ids);
}

/* An object; anything else becomes an empty one. */
static json_t *parse_settings(const char *text, size_t nbytes)
{
    json_t *object;
    hone_error err;
    if (hone_json_parse(text, nbytes, 0, &object, &err) == HONE_OK && json_is_object(object))
        return object;
    json_decref(object);
    return json_object();
}

/*
 * By the first byte: { begins tokenizer.json, or vocab.json, a NUL, merges.txt; anything else vocab.txt, where a NUL
 * may follow with tokenizer_config.json behind it.
 */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t nbytes)
{
    hone_tokenizer *tok = hone_calloc(1, sizeof *tok);
    const char *text = (const char *)data, *nul = nbytes > 0 ? memchr(data, '\0', nbytes) : NULL;
    const size_t len = nul ? (size_t)(nul - text) : nbytes, rest = nul ? nbytes - len - 1 : 0;
    hone_error err;
    if (!tok)
        abort();
    tok->bpe.unk = tok->spm.unk = -1;
    hone_tokenizer_config config = {.settings = parse_settings(nul ? nul + 1 : "", rest), .added = json_array()};
    hone_status status;
    if (nbytes > 0 && *text != '{')
        status = hone_tokenizer_from_vocab_txt(&config, text, len, tok, &err);
    else if (nul)
        status = hone_tokenizer_from_merges(&config, text, len, nul + 1, rest, tok, &err);
    else
        status = hone_tokenizer_from_json(text, nbytes, tok, &err);
    if (status == HONE_OK)
        encode(tok);
    hone_tokenizer_config_deinit(&config);
    hone_tokenizer_free(tok);
    return 0;
}
