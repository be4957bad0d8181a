/* SPDX-License-Identifier: MIT */
/* The parts of a quantized weight: finding, checking and reading them. */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/cursor.h"
#include "base/fail.h"
#include "formats/decode.h"
#include "formats/unquantize.h"

enum { MAX_NAME = 1024, CHUNK_NBYTES = 16 * 1024, NEAR_NBYTES = 4096 };

bool hone_part_stem(const char *name, const char *suffix, size_t *stem_len)
{
    const size_t len = strlen(name), suffix_len = strlen(suffix);
    if (len < suffix_len || strcmp(name + len - suffix_len, suffix) != 0)
        return false;
    *stem_len = len - suffix_len;
    return *stem_len == 0 || name[*stem_len - 1] == '.';
}

const hone_tensor *hone_part_find(const hone_unquantize_pass *pass, const char *stem, size_t stem_len,
                                  const char *suffix)
{
    char name[MAX_NAME];
    if (stem_len + strlen(suffix) >= sizeof name)
        return NULL;
    memcpy(name, stem, stem_len);
    memcpy(name + stem_len, suffix, strlen(suffix) + 1);
    return hone_checkpoint_find(pass->ckpt, name);
}

void hone_part_take_optional(hone_unquantize_pass *pass, const hone_tensor *t, size_t stem_len, const char *suffix,
                             hone_tensor *out)
{
    *out = (hone_tensor){0};
    const hone_tensor *part = hone_part_find(pass, t->name, stem_len, suffix);
    if (!part)
        return;
    *out = *part;
    pass->dropped[part - pass->ckpt->tensors] = true;
}

hone_status hone_part_take(hone_unquantize_pass *pass, const hone_tensor *t, size_t stem_len, const char *suffix,
                           hone_tensor *out, hone_error *err)
{
    hone_part_take_optional(pass, t, stem_len, suffix, out);
    return out->name ? HONE_OK
                     : hone_part_fail(pass->ckpt, t, err, HONE_ERROR_DATA, "quantized, but %s is missing", suffix);
}

hone_status hone_part_fail(const hone_checkpoint *ckpt, const hone_tensor *part, hone_error *err, hone_status status,
                           const char *fmt, ...)
{
    char reason[256];
    va_list args;
    va_start(args, fmt);
    (void)vsnprintf(reason, sizeof reason, fmt, args);
    va_end(args);
    (void)hone_fail(err, status, part->offset, part->name, "%s", reason);
    return hone_fail_in_file(err, status, ckpt->files[part->file].path);
}

hone_status hone_part_matrix(const hone_checkpoint *ckpt, const hone_tensor *part, uint64_t dtypes, uint64_t *rows,
                             uint64_t *cols, hone_error *err)
{
    static const uint64_t MAX_AXIS = 1ull << 40;
    *rows = part->n_dims > 0 ? part->shape[0] : 1;
    *cols = part->n_dims > 1 ? part->shape[1] : 1;
    if (!(dtypes & HONE_DTYPE_BIT(part->dtype)))
        return hone_part_fail(ckpt, part, err, HONE_ERROR_DATA, "%s is no type for this part of a quantized weight",
                              hone_dtype_describe(part->dtype)->name);
    if (part->n_dims > 2)
        return hone_part_fail(ckpt, part, err, HONE_ERROR_UNSUPPORTED, "a quantized weight with %u axes", part->n_dims);
    if (part->nelems == 0)
        return hone_part_fail(ckpt, part, err, HONE_ERROR_DATA, "part of a quantized weight, and empty");
    if (*rows > MAX_AXIS || *cols > MAX_AXIS)
        return hone_part_fail(ckpt, part, err, HONE_ERROR_LIMIT, "an axis of more than 2^40");
    return HONE_OK;
}

hone_status hone_part_expect(const hone_checkpoint *ckpt, const hone_tensor *part, uint64_t dtypes, uint64_t rows,
                             uint64_t cols, hone_error *err)
{
    uint64_t have_rows, have_cols;
    HONE_TRY(hone_part_matrix(ckpt, part, dtypes, &have_rows, &have_cols, err));
    if (have_rows == rows && have_cols == cols)
        return HONE_OK;
    return hone_part_fail(ckpt, part, err, HONE_ERROR_DATA,
                          "shape is [%llu, %llu]; the weight's other parts and the config ask for [%llu, %llu]",
                          (unsigned long long)have_rows, (unsigned long long)have_cols, (unsigned long long)rows,
                          (unsigned long long)cols);
}

hone_status hone_part_floats(const hone_checkpoint *ckpt, const hone_tensor *part, hone_dtype dtype, uint64_t first,
                             size_t n, float *dst, hone_error *err)
{
    uint8_t raw[CHUNK_NBYTES];
    const size_t size = hone_dtype_describe(dtype)->block_nbytes;
    const hone_decode_fn decode = hone_decoder(dtype, HONE_CPU_REF);
    if (dtype == HONE_F32)
        return hone_checkpoint_read(ckpt, part, first * size, n * size, dst, err);
    while (n > 0) {
        const size_t some = n < sizeof raw / size ? n : sizeof raw / size;
        HONE_TRY(hone_checkpoint_read(ckpt, part, first * size, some * size, raw, err));
        decode(raw, dst, some);
        first += some;
        dst += some;
        n -= some;
    }
    return HONE_OK;
}

/* Rows whose pieces lie close together are read with the gaps between them: cheaper than a call for each. */
hone_status hone_part_rect(const hone_checkpoint *ckpt, const hone_tensor *part, uint64_t row_nbytes, uint64_t row,
                           size_t nrows, uint64_t at, size_t nbytes, void *dst, hone_error *err)
{
    char *p = dst;
    if (nbytes == row_nbytes)
        return hone_checkpoint_read(ckpt, part, row * row_nbytes, nrows * nbytes, p, err);
    uint8_t buffer[CHUNK_NBYTES];
    const size_t at_once = row_nbytes <= NEAR_NBYTES ? (size_t)(sizeof buffer / row_nbytes) : 1;
    for (size_t r = 0; r < nrows;) {
        const size_t n = nrows - r < at_once ? nrows - r : at_once;
        const uint64_t begin = (row + r) * row_nbytes + at;
        if (n == 1) {
            HONE_TRY(hone_checkpoint_read(ckpt, part, begin, nbytes, p, err));
        } else {
            HONE_TRY(hone_checkpoint_read(ckpt, part, begin, (n - 1) * (size_t)row_nbytes + nbytes, buffer, err));
            for (size_t i = 0; i < n; i++)
                memcpy(p + i * nbytes, buffer + i * row_nbytes, nbytes);
        }
        p += n * nbytes;
        r += n;
    }
    return HONE_OK;
}

hone_status hone_part_columns(const hone_checkpoint *ckpt, const hone_tensor *part, uint64_t n_cols, size_t n_groups,
                              uint64_t first, size_t n, float *scratch, float *dst, hone_error *err)
{
    for (size_t g = 0; g < n_groups; g++) {
        HONE_TRY(hone_part_floats(ckpt, part, part->dtype, g * n_cols + first, n, scratch, err));
        for (size_t i = 0; i < n; i++)
            dst[i * n_groups + g] = scratch[i];
    }
    return HONE_OK;
}

/* Whether an order that was read says nothing, by the rule of its format. */
static bool order_is_unset(const uint32_t *order, size_t n, size_t n_groups, hone_order_rule rule)
{
    bool any_negative = false, all_zero = true;
    for (size_t i = 0; i < n; i++) {
        any_negative |= order[i] == UINT32_MAX;
        all_zero &= order[i] == 0;
    }
    return rule == HONE_ORDER_UNSET_IS_NEGATIVE ? any_negative : all_zero && n_groups > 1;
}

hone_status hone_part_groups(const hone_checkpoint *ckpt, const hone_tensor *order, hone_order_rule rule, size_t n,
                             size_t group, size_t n_groups, uint32_t *group_of, hone_error *err)
{
    if (order->name) {
        HONE_TRY(hone_checkpoint_read(ckpt, order, 0, n * sizeof *group_of, group_of, err));
        if (!order_is_unset(group_of, n, n_groups, rule)) {
            for (size_t i = 0; i < n; i++)
                if (group_of[i] >= n_groups)
                    return hone_part_fail(ckpt, order, err, HONE_ERROR_DATA,
                                          "element %zu is group %ld; there are %zu groups", i,
                                          (long)(int32_t)group_of[i], n_groups);
            return HONE_OK;
        }
    }
    for (size_t i = 0, g = 0; i < n; g++)
        for (size_t end = n - i < group ? n : i + group; i < end; i++)
            group_of[i] = (uint32_t)g;
    return HONE_OK;
}

void hone_unquantize_grid(const uint8_t *codes, size_t n, const uint32_t *group_of, const float *scale,
                          const float *zero, float *dst)
{
    for (size_t i = 0; i < n; i++) {
        const uint32_t g = group_of[i];
        dst[i] = scale[g] * ((float)codes[i] - zero[g]);
    }
}
