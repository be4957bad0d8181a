/* SPDX-License-Identifier: MIT */
#include "tests/support/toy_weights.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { ALIGNMENT = 32 };

/* Uniform in (-1, 1), from a linear congruential generator: the same everywhere. */
static float next_random(uint64_t *state)
{
    *state = *state * 6364136223846793005u + 1442695040888963407u;
    return (float)((double)(*state >> 40) * 0x1p-23 - 1.0);
}

hone_toy_tensor *hone_toy_add(hone_toy_tensor **tensors, size_t *n, const char *hf, const char *gguf, size_t nrows,
                              size_t ncols)
{
    *tensors = realloc(*tensors, (*n + 1) * sizeof **tensors);
    if (!*tensors)
        abort();
    hone_toy_tensor *t = &(*tensors)[(*n)++];
    memset(t, 0, sizeof *t);
    (void)snprintf(t->hf, sizeof t->hf, "%s", hf);
    (void)snprintf(t->gguf, sizeof t->gguf, "%s", gguf);
    t->nrows = nrows;
    t->ncols = ncols;
    return t;
}

static size_t count(const hone_toy_tensor *t)
{
    return t->nrows * (t->ncols ? t->ncols : 1);
}

void hone_toy_randomize(hone_toy_tensor *tensors, size_t n)
{
    uint64_t state = 1;
    for (size_t i = 0; i < n; i++) {
        hone_toy_tensor *t = &tensors[i];
        const bool norm = strstr(t->gguf, "norm.weight") != NULL;
        t->data = malloc(count(t) * sizeof(float));
        if (!t->data)
            abort();
        for (size_t k = 0; k < count(t); k++)
            t->data[k] = norm ? 1 + 0.3f * next_random(&state) : 0.6f * next_random(&state);
    }
}

hone_toy_tensor *hone_toy_find_tensor(hone_toy_tensor *tensors, size_t n, const char *hf)
{
    for (size_t i = 0; i < n; i++)
        if (strcmp(tensors[i].hf, hf) == 0)
            return &tensors[i];
    (void)fprintf(stderr, "toy model has no %s\n", hf);
    abort();
}

void hone_toy_free_tensors(hone_toy_tensor **tensors, size_t *n)
{
    for (size_t i = 0; i < *n; i++)
        free((*tensors)[i].data);
    free(*tensors);
    *tensors = NULL;
    *n = 0;
}

static void put_text(hone_bytes *b, const char *text)
{
    hone_bytes_put(b, text, strlen(text));
}

/* ---- Hugging Face ---- */

static void put_values(hone_bytes *b, const hone_toy_tensor *t)
{
    if (!t->transposed) {
        hone_bytes_put(b, t->data, count(t) * sizeof(float));
        return;
    }
    for (size_t c = 0; c < t->ncols; c++)
        for (size_t r = 0; r < t->nrows; r++)
            hone_bytes_put(b, &t->data[r * t->ncols + c], sizeof(float));
}

void hone_toy_write_safetensors(const hone_toy_tensor *tensors, size_t n, hone_temp_dir *dir)
{
    hone_bytes header = {0}, data = {0}, file = {0};
    for (size_t i = 0; i < n; i++) {
        const hone_toy_tensor *t = &tensors[i];
        if (t->not_hf)
            continue;
        char shape[64], entry[256];
        (void)snprintf(shape, sizeof shape, t->ncols ? "%zu,%zu" : "%zu", t->transposed ? t->ncols : t->nrows,
                       t->transposed ? t->nrows : t->ncols);
        const size_t begin = data.n;
        put_values(&data, t);
        (void)snprintf(entry, sizeof entry, "%s\"%s\":{\"dtype\":\"F32\",\"shape\":[%s],\"data_offsets\":[%zu,%zu]}",
                       header.n ? "," : "{", t->hf, shape, begin, data.n);
        put_text(&header, entry);
    }
    put_text(&header, "}");
    hone_bytes_u64(&file, header.n);
    hone_bytes_put(&file, header.data, header.n);
    hone_bytes_put(&file, data.data, data.n);
    (void)hone_temp_file(dir, "model.safetensors", file.data, file.n);
    hone_bytes_free(&header);
    hone_bytes_free(&data);
    hone_bytes_free(&file);
}

/* ---- GGUF ---- */

void hone_toy_put_string(hone_bytes *b, const char *text)
{
    hone_bytes_u64(b, strlen(text));
    put_text(b, text);
}

void hone_toy_put_count(hone_bytes *b, const char *key, size_t value)
{
    hone_toy_put_string(b, key);
    hone_bytes_u32(b, 4);
    hone_bytes_u32(b, (uint32_t)value);
}

void hone_toy_put_float(hone_bytes *b, const char *key, double value)
{
    const float f = (float)value;
    hone_toy_put_string(b, key);
    hone_bytes_u32(b, 6);
    hone_bytes_put(b, &f, sizeof f);
}

/* Halves become neighbours: row i of a head goes to 2i, row h/2 + i to 2i + 1. */
static void put_rows(hone_bytes *b, const hone_toy_tensor *t)
{
    const size_t row_nelems = t->ncols ? t->ncols : 1;
    const size_t per_head = t->n_heads ? t->nrows / t->n_heads : t->nrows;
    for (size_t head = 0; head < t->nrows / per_head; head++)
        for (size_t i = 0; i < per_head; i++) {
            const size_t from = t->n_heads == 0 ? i : i % 2 == 0 ? i / 2 : per_head / 2 + i / 2;
            hone_bytes_put(b, t->data + (head * per_head + from) * row_nelems, row_nelems * sizeof(float));
        }
    hone_bytes_zero(b, (ALIGNMENT - b->n % ALIGNMENT) % ALIGNMENT);
}

const char *hone_toy_write_gguf_file(const hone_toy_tensor *tensors, size_t n, const hone_bytes *entries,
                                     uint64_t n_entries, hone_temp_dir *dir)
{
    hone_bytes infos = {0}, data = {0}, file = {0};
    uint64_t n_tensors = 0;
    for (size_t i = 0; i < n; i++) {
        const hone_toy_tensor *t = &tensors[i];
        if (t->not_gguf)
            continue;
        n_tensors++;
        hone_toy_put_string(&infos, t->gguf);
        hone_bytes_u32(&infos, t->n_stacked ? 3 : t->ncols ? 2 : 1);
        if (t->ncols)
            hone_bytes_u64(&infos, t->ncols);
        hone_bytes_u64(&infos, t->n_stacked ? t->nrows / t->n_stacked : t->nrows);
        if (t->n_stacked)
            hone_bytes_u64(&infos, t->n_stacked);
        hone_bytes_u32(&infos, 0); /* F32 */
        hone_bytes_u64(&infos, data.n);
        put_rows(&data, t);
    }
    put_text(&file, "GGUF");
    hone_bytes_u32(&file, 3);
    hone_bytes_u64(&file, n_tensors);
    hone_bytes_u64(&file, n_entries);
    hone_bytes_put(&file, entries->data, entries->n);
    hone_bytes_put(&file, infos.data, infos.n);
    hone_bytes_zero(&file, (ALIGNMENT - file.n % ALIGNMENT) % ALIGNMENT);
    hone_bytes_put(&file, data.data, data.n);
    const char *path = hone_temp_file(dir, "toy.gguf", file.data, file.n);
    hone_bytes_free(&infos);
    hone_bytes_free(&data);
    hone_bytes_free(&file);
    return path;
}
