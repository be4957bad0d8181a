/* SPDX-License-Identifier: MIT */
/* The first byte tells how a file carries the rest: 0 as numbers, 1 as a string, 2 in its recipe. */
#include "tests/fuzz/fuzz_target.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/cursor.h"
#include "base/mem.h"
#include "formats/text_marks.h"

enum { ARRAY, STRING, RECIPE, N_FORMS };

/* Takes the marks of a file with these metadata. */
static hone_status take(hone_gguf_header *h, hone_text_marks *out)
{
    char path[64];
    hone_gguf_layout layout;
    hone_checkpoint *ckpt;
    hone_error err;
    if (hone_gguf_finish(h, HONE_GGUF_ALIGNMENT, &layout, &err) != HONE_OK)
        abort();
    const int fd = hone_fuzz_file(layout.bytes, layout.nbytes, path);
    hone_status status = hone_checkpoint_open(path, NULL, &ckpt, &err);
    if (status == HONE_OK)
        status = hone_text_marks_take(out, ckpt, &err);
    hone_checkpoint_close(ckpt);
    (void)close(fd);
    hone_gguf_layout_deinit(&layout);
    hone_gguf_free(h);
    return status;
}

static hone_gguf_header *header_with(unsigned form, const char *data, size_t nbytes)
{
    hone_gguf_header *h = hone_gguf_new();
    const size_t n = nbytes / sizeof(uint64_t);
    uint64_t *numbers = malloc(nbytes + 1);
    if (!h || !numbers)
        abort();
    for (size_t i = 0; i < n; i++)
        numbers[i] = hone_load_u64(data + i * sizeof *numbers);
    if (form == ARRAY)
        hone_gguf_put_u64_array(h, HONE_TEXT_MARKS_KEY, numbers, n);
    else
        hone_gguf_put_string(h, form == STRING ? HONE_TEXT_MARKS_KEY : "hone.recipe", (hone_string){data, nbytes});
    free(numbers);
    return h;
}

/* What was taken can be written, and taken again. */
static void compare(const hone_text_marks *m)
{
    hone_text_marks again[2] = {{0}, {0}};
    hone_gguf_header *h = hone_gguf_new();
    hone_text_marks_put(m, h);
    char *hex = hone_text_marks_hex(m);
    if (!hex || take(h, &again[0]) != HONE_OK || take(header_with(STRING, hex, strlen(hex)), &again[1]) != HONE_OK)
        abort();
    for (int i = 0; i < 2; i++) {
        if (again[i].n != m->n || (m->n > 0 && memcmp(again[i].records, m->records, m->n * sizeof *m->records) != 0))
            abort();
        hone_text_marks_deinit(&again[i]);
    }
    hone_release(hex);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t nbytes)
{
    hone_text_marks m = {0};
    hone_error err;
    if (nbytes == 0 || take(header_with(data[0] % N_FORMS, (const char *)data + 1, nbytes - 1), &m) != HONE_OK) {
        hone_text_marks_deinit(&m);
        return 0;
    }
    double share;
    compare(&m);
    if (hone_text_marks_share(&m, (const char *)data, nbytes, &share, &err) != HONE_OK || !(share >= 0 && share <= 1))
        abort();
    const size_t n = m.n;
    hone_text_marks_thin(&m, 3);
    if (m.n > n)
        abort();
    compare(&m);
    hone_text_marks_deinit(&m);
    return 0;
}
