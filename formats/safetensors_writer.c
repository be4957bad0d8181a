/* SPDX-License-Identifier: MIT */
#include "formats/safetensors_writer.h"

#include <stdlib.h>
#include <string.h>

#include <jansson.h>
#include <xxhash.h>

#include "base/arith.h"
#include "base/cursor.h"
#include "base/fail.h"
#include "base/mem.h"

enum { LENGTH_NBYTES = 8, MAX_HEADER_NBYTES = 100000000 };

static const char METADATA[] = "__metadata__";

/* The order of safetensors' own list of dtypes (tensor.rs), which its writer sorts by, backwards. */
static int rank(hone_dtype dtype)
{
    static const hone_dtype order[] = {HONE_BOOL, HONE_U8,  HONE_I8,  HONE_F8_E5M2, HONE_F8_E4M3, HONE_F8_E8M0,
                                       HONE_I16,  HONE_U16, HONE_F16, HONE_BF16,    HONE_I32,     HONE_U32,
                                       HONE_F32,  HONE_F64, HONE_I64, HONE_U64};
    for (int i = 0; i < (int)(sizeof order / sizeof order[0]); i++)
        if (order[i] == dtype)
            return i;
    return -1;
}

int hone_safetensors_compare(const hone_tensor *a, const hone_tensor *b)
{
    const int by_dtype = rank(b->dtype) - rank(a->dtype);
    return by_dtype ? by_dtype : strcmp(a->name, b->name);
}

static hone_status add_entry(json_t *root, hone_tensor *t, uint64_t *end, hone_error *err)
{
    const char *dtype = hone_dtype_describe(t->dtype)->safetensors;
    if (!dtype)
        return hone_fail(err, HONE_ERROR_UNSUPPORTED, HONE_NO_OFFSET, t->name, "safetensors has no type %s",
                         hone_dtype_describe(t->dtype)->name);
    if (!t->name[0] || strcmp(t->name, METADATA) == 0 || json_object_get(root, t->name))
        return hone_fail(err, HONE_ERROR_ARG, HONE_NO_OFFSET, t->name, "no name for a tensor, or used twice");
    t->offset = *end;
    if (!hone_add_u64(*end, t->nbytes, end) || *end > INT64_MAX / 2)
        return hone_fail(err, HONE_ERROR_LIMIT, HONE_NO_OFFSET, t->name, "too large");
    json_t *shape = json_array();
    for (unsigned i = 0; shape && i < t->n_dims; i++)
        (void)json_array_append_new(shape, json_integer((json_int_t)t->shape[i]));
    json_t *entry = json_pack("{s:s, s:o, s:[I,I]}", "dtype", dtype, "shape", shape, "data_offsets",
                              (json_int_t)t->offset, (json_int_t)*end);
    if (!entry)
        return hone_fail_nomem(err, 128);
    if (json_object_set_new(root, t->name, entry) == 0)
        return HONE_OK;
    return hone_fail(err, HONE_ERROR_ARG, HONE_NO_OFFSET, t->name, "a name that is not UTF-8");
}

static hone_status add_metadata(json_t *root, const hone_safetensors_pair *pairs, size_t n_pairs, size_t n_tensors,
                                hone_error *err)
{
    json_t *metadata = json_object();
    if (!metadata || json_object_set_new(root, METADATA, metadata) != 0)
        return hone_fail_nomem(err, 64);
    for (size_t i = 0; i < n_pairs; i++)
        if (json_object_get(metadata, pairs[i].key) ||
            json_object_set_new(metadata, pairs[i].key, json_string(pairs[i].value)) != 0)
            return hone_fail(err, HONE_ERROR_ARG, HONE_NO_OFFSET, pairs[i].key,
                             "metadata that is used twice or not UTF-8");
    char *zeros = hone_alloc(n_tensors * HONE_SUM_DIGITS + HONE_SUM_DIGITS, 1);
    if (!zeros)
        return hone_fail_nomem(err, n_tensors * HONE_SUM_DIGITS);
    memset(zeros, '0', n_tensors * HONE_SUM_DIGITS + HONE_SUM_DIGITS);
    const bool ok =
        json_object_set_new(metadata, HONE_SAFETENSORS_TENSOR_SUMS, json_stringn(zeros, n_tensors * HONE_SUM_DIGITS)) ==
            0 &&
        json_object_set_new(metadata, HONE_SAFETENSORS_HEADER_SUM, json_stringn(zeros, HONE_SUM_DIGITS)) == 0;
    hone_release(zeros);
    return ok ? HONE_OK : hone_fail_nomem(err, n_tensors * HONE_SUM_DIGITS);
}

/* Where the value of a key of ours starts. Quotes within JSON strings are escaped: the text is found nowhere else. */
static size_t find_value(const uint8_t *bytes, size_t nbytes, const char *pattern)
{
    const uint8_t *at = memmem(bytes, nbytes, pattern, strlen(pattern));
    return (size_t)(at - bytes) + strlen(pattern);
}

static hone_status store(const json_t *root, hone_safetensors_layout *out, hone_error *err)
{
    char *text = json_dumps(root, JSON_COMPACT);
    if (!text)
        return hone_fail_nomem(err, 0);
    const size_t len = strlen(text), padded = (len + 7) / 8 * 8;
    hone_status status = HONE_OK;
    out->nbytes = LENGTH_NBYTES + padded;
    if (padded > MAX_HEADER_NBYTES)
        status = hone_fail(err, HONE_ERROR_LIMIT, HONE_NO_OFFSET, NULL, "a header of %zu bytes, at most %d are allowed",
                           padded, MAX_HEADER_NBYTES);
    else if (!(out->bytes = hone_alloc(out->nbytes, 1)))
        status = hone_fail_nomem(err, out->nbytes);
    if (status == HONE_OK) {
        hone_store_u64(out->bytes, padded);
        memcpy(out->bytes + LENGTH_NBYTES, text, len);
        memset(out->bytes + LENGTH_NBYTES + len, ' ', padded - len);
        out->tensor_sums_at = find_value(out->bytes, out->nbytes, "\"" HONE_SAFETENSORS_TENSOR_SUMS "\":\"");
        out->header_sum_at = find_value(out->bytes, out->nbytes, "\"" HONE_SAFETENSORS_HEADER_SUM "\":\"");
    }
    free(text);
    return status;
}

hone_status hone_safetensors_lay_out(hone_tensor *tensors, size_t n, const hone_safetensors_pair *metadata,
                                     size_t n_metadata, hone_safetensors_layout *out, hone_error *err)
{
    *out = (hone_safetensors_layout){.n_tensors = n};
    json_t *root = json_object();
    if (!root)
        return hone_fail_nomem(err, 64);
    uint64_t end = 0;
    hone_status status = add_metadata(root, metadata, n_metadata, n, err);
    for (size_t i = 0; i < n && status == HONE_OK; i++)
        status = add_entry(root, &tensors[i], &end, err);
    if (status == HONE_OK)
        status = store(root, out, err);
    json_decref(root);
    if (status != HONE_OK) {
        hone_safetensors_layout_deinit(out);
        return status;
    }
    for (size_t i = 0; i < n; i++)
        tensors[i].offset += out->nbytes;
    out->file_nbytes = out->nbytes + end;
    return HONE_OK;
}

void hone_safetensors_layout_deinit(hone_safetensors_layout *layout)
{
    hone_release(layout->bytes);
    *layout = (hone_safetensors_layout){0};
}

static void put_digits(uint8_t *at, uint64_t sum)
{
    static const char digits[] = "0123456789abcdef";
    for (int i = 0; i < HONE_SUM_DIGITS; i++)
        at[i] = (uint8_t)digits[sum >> (60 - 4 * i) & 15];
}

uint64_t hone_safetensors_header_sum(uint8_t *header, size_t nbytes, size_t header_sum_at)
{
    uint8_t kept[HONE_SUM_DIGITS];
    memcpy(kept, header + header_sum_at, sizeof kept);
    memset(header + header_sum_at, '0', sizeof kept);
    const uint64_t sum = XXH3_64bits(header, nbytes);
    memcpy(header + header_sum_at, kept, sizeof kept);
    return sum;
}

void hone_safetensors_put_sums(uint8_t *header, size_t nbytes, size_t tensor_sums_at, size_t header_sum_at,
                               const uint64_t *sums, size_t n)
{
    for (size_t i = 0; i < n; i++)
        put_digits(header + tensor_sums_at + i * HONE_SUM_DIGITS, sums[i]);
    put_digits(header + header_sum_at, hone_safetensors_header_sum(header, nbytes, header_sum_at));
}
