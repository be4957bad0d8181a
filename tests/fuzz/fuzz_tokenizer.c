/* SPDX-License-Identifier: MIT */
#include "tests/fuzz/fuzz_target.h"

#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "hone/hone.h"
#include "verify/tokenizer_impl.h"

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

/* tokenizer.json; or, when there is a NUL in it, vocab.json and merges.txt. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t nbytes)
{
    hone_tokenizer *tok = hone_calloc(1, sizeof *tok);
    const char *text = (const char *)data, *nul = nbytes > 0 ? memchr(data, '\0', nbytes) : NULL;
    hone_error err;
    if (!tok)
        abort();
    tok->bpe.unk = tok->spm.unk = -1;
    const hone_status status = nul ? hone_tokenizer_from_merges(text, (size_t)(nul - text), nul + 1,
                                                                nbytes - (size_t)(nul + 1 - text), tok, &err)
                                   : hone_tokenizer_from_json(text, nbytes, tok, &err);
    if (status == HONE_OK)
        encode(tok);
    hone_tokenizer_free(tok);
    return 0;
}
