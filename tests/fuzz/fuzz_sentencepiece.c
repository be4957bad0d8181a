/* SPDX-License-Identifier: MIT */
#include "tests/fuzz/fuzz_target.h"

#include <stdlib.h>
#include <string.h>

#include "formats/sentencepiece.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t nbytes)
{
    hone_sentencepiece sp;
    hone_error err;
    const hone_status status = hone_sentencepiece_parse(data, nbytes, &sp, &err);
    if (status == HONE_OK && sp.n_pieces == 0)
        abort();
    volatile size_t sum = 0;
    for (size_t i = 0; i < sp.n_pieces; i++)
        sum += strlen(sp.pieces[i].text.data) + sp.pieces[i].text.len;
    (void)sum;
    hone_sentencepiece_deinit(&sp);
    return 0;
}
