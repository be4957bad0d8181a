/* SPDX-License-Identifier: MIT */
#include "quantize/calibration_file.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <xxhash.h>

#include "base/fail.h"
#include "base/mem.h"
#include "formats/checksum.h"
#include "formats/gguf_writer.h"
#include "formats/imatrix_keys.h"

/* A weight of the set, for sorting by name. */
struct entry {
    const char *name;
    size_t input, nth; /* nth: in the order of the set */
};

/* Experts of a weight stay in their order. */
static int by_name(const void *a, const void *b)
{
    const struct entry *x = a, *y = b;
    const int order = strcmp(x->name, y->name);
    return order ? order : (x->nth > y->nth) - (x->nth < y->nth);
}

/* How many inputs share one tensor: experts, each with a row of its own. */
static size_t n_stacked(const hone_input_stats *in)
{
    return in->n_experts ? in->n_experts : 1;
}

static size_t count_weights(const hone_input_set *set)
{
    size_t n = 0;
    for (size_t i = 0; i < set->n; i++)
        n += set->inputs[i].n_weights;
    return n;
}

static struct entry *sorted_entries(const hone_input_set *set, size_t n)
{
    struct entry *entries = hone_alloc(n, sizeof *entries);
    size_t nth = 0;
    for (size_t i = 0; entries && i < set->n; i++)
        for (size_t w = 0; w < set->inputs[i].n_weights; w++, nth++)
            entries[nth] = (struct entry){set->inputs[i].names[w], i, nth};
    if (entries)
        qsort(entries, n, sizeof *entries, by_name);
    return entries;
}

static void add_tensor(hone_gguf_header *h, const char *weight, const char *suffix, unsigned n_dims,
                       const uint64_t *shape)
{
    char name[HONE_ROLE_NAME_CAP + 16];
    (void)snprintf(name, sizeof name, "%s%s", weight, suffix);
    hone_gguf_add_tensor(h, name, HONE_F32, n_dims, shape);
}

/* NOMEM is reported when the header is finished. */
static void put_datasets(hone_gguf_header *h, const hone_calibration_origin *origin)
{
    hone_string *names = hone_alloc(origin->n_datasets, sizeof *names);
    for (size_t i = 0; names && i < origin->n_datasets; i++)
        names[i] = (hone_string){origin->datasets[i], strlen(origin->datasets[i])};
    if (names)
        hone_gguf_put_str_array(h, "imatrix.datasets", names, origin->n_datasets);
    hone_release(names);
}

static void put_grams(hone_gguf_header *h, const hone_input_set *set, const struct entry *entries, size_t n)
{
    enum { CAP = HONE_ROLE_NAME_CAP + 16 };
    hone_string *weights = hone_alloc(2 * n, sizeof *weights);
    char(*names)[CAP] = hone_alloc(n, sizeof *names);
    size_t n_lines = 0;
    for (size_t i = 0; weights && names && i < n; i += n_stacked(&set->inputs[entries[i].input]), n_lines++) {
        (void)snprintf(names[n_lines], CAP, "%s" HONE_IN_GRAM, set->inputs[entries[i].input].names[0]);
        weights[n_lines] = (hone_string){entries[i].name, strlen(entries[i].name)};
        weights[n + n_lines] = (hone_string){names[n_lines], strlen(names[n_lines])};
    }
    if (weights && names) {
        hone_gguf_put_str_array(h, HONE_CALIBRATION_WEIGHTS, weights, n_lines);
        hone_gguf_put_str_array(h, HONE_CALIBRATION_GRAMS, weights + n, n_lines);
    }
    hone_release(names);
    hone_release(weights);
}

/* Two for each weight, two for each input that has its products and sums, experts together. */
static size_t count_tensors(const hone_input_set *set, bool grams)
{
    size_t n = 0;
    for (size_t i = 0; i < set->n; i++)
        n += set->inputs[i].expert == 0 ? 2 * (set->inputs[i].n_weights + grams) : 0;
    return n;
}

static void describe(hone_gguf_header *h, const hone_input_set *set, const struct entry *entries, size_t n, bool grams,
                     const hone_calibration_origin *origin)
{
    hone_gguf_put_str(h, "general.type", "imatrix");
    put_datasets(h, origin);
    hone_gguf_put_u32(h, "imatrix.chunk_count", (uint32_t)origin->n_chunks);
    hone_gguf_put_u32(h, "imatrix.chunk_size", (uint32_t)origin->n_ctx);
    hone_gguf_put_str(h, "hone.version", hone_version());
    if (origin->transforms[0])
        hone_gguf_put_str(h, HONE_IMATRIX_TRANSFORMS_KEY, origin->transforms);
    hone_text_marks_put(origin->texts, h);
    if (grams)
        put_grams(h, set, entries, n);
    hone_gguf_put_sums(h, count_tensors(set, grams));
    for (size_t i = 0; i < n; i++) {
        const hone_input_stats *in = &set->inputs[entries[i].input];
        if (in->expert > 0)
            continue;
        add_tensor(h, entries[i].name, HONE_IN_SUM2, 2, (uint64_t[]){n_stacked(in), in->ncols});
        add_tensor(h, entries[i].name, HONE_COUNTS, 2, (uint64_t[]){n_stacked(in), 1});
    }
    for (size_t i = 0; grams && i < set->n; i++) {
        const hone_input_stats *in = &set->inputs[i];
        const uint64_t triangle = (uint64_t)in->ncols * (in->ncols + 1) / 2;
        if (in->expert == 0)
            add_tensor(h, in->names[0], HONE_IN_GRAM, in->n_experts ? 2 : 1,
                       (uint64_t[]){in->n_experts ? in->n_experts : triangle, triangle});
    }
    for (size_t i = 0; grams && i < set->n; i++) {
        const hone_input_stats *in = &set->inputs[i];
        if (in->expert == 0)
            add_tensor(h, in->names[0], HONE_IN_SUM, in->n_experts ? 2 : 1,
                       (uint64_t[]){in->n_experts ? in->n_experts : in->ncols, in->ncols});
    }
}

static hone_status take_places(const hone_gguf_layout *layout, const hone_input_set *set, const struct entry *entries,
                               size_t n, bool grams, hone_calibration_output *out, hone_error *err)
{
    out->sums = hone_calloc(n, sizeof *out->sums);
    out->counts = hone_calloc(n, sizeof *out->counts);
    out->grams = hone_calloc(set->n, sizeof *out->grams);
    out->has_grams = grams;
    out->means = hone_calloc(set->n, sizeof *out->means);
    if (!out->sums || !out->counts || !out->grams || !out->means)
        return hone_fail_nomem(err, 2 * (n + set->n) * sizeof *out->sums);
    size_t tensor = 0;
    for (size_t i = 0; i < n; i++) {
        const hone_input_stats *in = &set->inputs[entries[i].input];
        const uint64_t row_nbytes = in->ncols * sizeof(float);
        tensor += i > 0 && in->expert == 0 ? 2 : 0;
        out->sums[entries[i].nth] = layout->offsets[tensor] + in->expert * row_nbytes;
        out->counts[entries[i].nth] = layout->offsets[tensor + 1] + in->expert * sizeof(float);
    }
    for (size_t i = 0; grams && i < set->n; i++) {
        const hone_input_stats *in = &set->inputs[i];
        const uint64_t triangle_nbytes = (uint64_t)in->ncols * (in->ncols + 1) / 2 * sizeof(float);
        tensor += in->expert == 0 ? i > 0 ? 1 : 2 : 0;
        out->grams[i] = layout->offsets[tensor] + in->expert * triangle_nbytes;
    }
    for (size_t i = 0; grams && i < set->n; i++) {
        const hone_input_stats *in = &set->inputs[i];
        tensor += in->expert == 0;
        out->means[i] = layout->offsets[tensor] + in->expert * in->ncols * sizeof(float);
    }
    return HONE_OK;
}

static hone_status open_output(const char *path, const hone_gguf_layout *layout, size_t n_inputs, uint64_t identity,
                               hone_writer_options how, hone_calibration_output *out, hone_error *err)
{
    HONE_TRY(hone_writer_open(path, layout->file_nbytes, how, &out->writer, err));
    /* The journal says whose the partial file is before there is anything in it. */
    const uint64_t id = XXH3_64bits_withSeed(layout->bytes, layout->nbytes, identity);
    HONE_TRY(hone_journal_open(path, out->writer.resumed, id, n_inputs, &out->journal, err));
    HONE_TRY(hone_writer_reserve(&out->writer, err));
    return hone_writer_write(&out->writer, 0, layout->bytes, layout->nbytes, err);
}

hone_status hone_calibration_create(const char *path, const hone_input_set *set, const hone_calibration_origin *origin,
                                    uint64_t identity, bool grams, hone_writer_options how,
                                    hone_calibration_output *out, hone_error *err)
{
    *out = HONE_NO_CALIBRATION_OUTPUT;
    const size_t n = count_weights(set);
    struct entry *entries = sorted_entries(set, n);
    if (!entries)
        return hone_fail_nomem(err, n * sizeof *entries);
    out->header = hone_gguf_new(); /* NULL is reported by finish */
    describe(out->header, set, entries, n, grams, origin);
    hone_status status = hone_gguf_finish(out->header, HONE_GGUF_ALIGNMENT, &out->layout, err);
    if (status == HONE_OK)
        status = take_places(&out->layout, set, entries, n, grams, out, err);
    if (status == HONE_OK)
        status = open_output(path, &out->layout, set->n, identity, how, out, err);
    hone_release(entries);
    if (status != HONE_OK)
        hone_calibration_output_deinit(out, true);
    return status;
}

hone_status hone_calibration_commit(hone_calibration_output *out, hone_error *err)
{
    HONE_TRY(hone_gguf_seal(&out->writer, out->header, &out->layout, err));
    const hone_status synced = hone_writer_sync(&out->writer, err);
    if (synced != HONE_OK) {
        hone_journal_forget(&out->journal);
        return synced;
    }
    return hone_writer_commit(&out->writer, err);
}

void hone_calibration_output_deinit(hone_calibration_output *out, bool keep)
{
    hone_journal_close(&out->journal, !keep); /* first, while the lock is held */
    if (keep)
        hone_writer_suspend(&out->writer);
    else
        hone_writer_abort(&out->writer);
    hone_gguf_layout_deinit(&out->layout);
    hone_gguf_free(out->header);
    hone_release(out->sums);
    hone_release(out->counts);
    hone_release(out->grams);
    hone_release(out->means);
    *out = HONE_NO_CALIBRATION_OUTPUT;
}

/* Where an input's numbers are: how many weights come before its own. */
static size_t first_weight(const hone_input_set *set, size_t input)
{
    size_t n = 0;
    for (size_t i = 0; i < input; i++)
        n += set->inputs[i].n_weights;
    return n;
}

/* Writes or reads back bytes that an input's checksum covers. */
static hone_status pass_on(const hone_calibration_output *out, uint64_t at, void *bytes, size_t nbytes, bool read,
                           uint64_t *checksum, hone_error *err)
{
    HONE_TRY(read ? hone_writer_read(&out->writer, at, bytes, nbytes, err)
                  : hone_writer_write(&out->writer, at, bytes, nbytes, err));
    *checksum = XXH3_64bits_withSeed(bytes, nbytes, *checksum);
    return HONE_OK;
}

/* Squares and count of every weight that shares the input. */
static hone_status pass_sums(const hone_calibration_output *out, const hone_input_stats *in, size_t nth, float *sums,
                             float *count, bool read, uint64_t *checksum, hone_error *err)
{
    for (size_t w = nth; w < nth + in->n_weights; w++) {
        HONE_TRY(pass_on(out, out->sums[w], sums, in->ncols * sizeof *sums, read, checksum, err));
        HONE_TRY(pass_on(out, out->counts[w], count, sizeof *count, read, checksum, err));
    }
    return HONE_OK;
}

/* row (ncols) is room for what is read. */
static hone_status pass_gram(const hone_calibration_output *out, const hone_input_stats *in, uint64_t at, float *row,
                             bool read, uint64_t *checksum, hone_error *err)
{
    for (size_t i = 0; i < in->ncols; i++) {
        const size_t nbytes = (in->ncols - i) * sizeof(float);
        if (!read)
            memcpy(row, hone_gram_row(in->gram, in->ncols, i), nbytes);
        HONE_TRY(pass_on(out, at, row, nbytes, read, checksum, err));
        at += nbytes;
    }
    return HONE_OK;
}

static hone_status pass_input(const hone_calibration_output *out, const hone_input_set *set, size_t input, float *row,
                              bool read, uint64_t *checksum, hone_error *err)
{
    hone_input_stats *in = &set->inputs[input];
    float count = (float)in->n_tokens;
    for (size_t c = 0; c < in->ncols; c++)
        row[c] = (float)in->squares[c];
    *checksum = 0;
    HONE_TRY(pass_sums(out, in, first_weight(set, input), row, &count, read, checksum, err));
    for (size_t c = 0; c < in->ncols; c++)
        row[c] = (float)in->sums[c];
    if (out->has_grams) {
        HONE_TRY(pass_on(out, out->means[input], row, in->ncols * sizeof *row, read, checksum, err));
        HONE_TRY(pass_gram(out, in, out->grams[input], row, read, checksum, err));
    }
    *checksum += *checksum == 0; /* 0 stands for none */
    if (read)
        in->n_tokens = count > 0.0f && count < 1e18f ? (uint64_t)count : 0;
    return HONE_OK;
}

hone_status hone_calibration_put(const hone_calibration_output *out, const hone_input_set *set, size_t input,
                                 hone_error *err)
{
    const size_t ncols = set->inputs[input].ncols;
    float *row = hone_alloc(ncols, sizeof *row);
    if (!row)
        return hone_fail_nomem(err, ncols * sizeof *row);
    uint64_t checksum;
    hone_status status = pass_input(out, set, input, row, false, &checksum, err);
    hone_release(row);
    if (status == HONE_OK)
        status = hone_journal_commit(&out->journal, input, checksum, err);
    return status;
}

hone_status hone_calibration_find(const hone_calibration_output *out, const hone_input_set *set, size_t input,
                                  bool *done, hone_error *err)
{
    *done = false;
    uint64_t wanted, checksum;
    HONE_TRY(hone_journal_chunk(&out->journal, input, &wanted, err));
    if (wanted == 0)
        return HONE_OK;
    const size_t ncols = set->inputs[input].ncols;
    float *row = hone_alloc(ncols, sizeof *row);
    if (!row)
        return hone_fail_nomem(err, ncols * sizeof *row);
    const hone_status status = pass_input(out, set, input, row, true, &checksum, err);
    hone_release(row);
    *done = status == HONE_OK && checksum == wanted;
    return status;
}

hone_status hone_calibration_add(hone_calibration *calibration, hone_calibration_weight weight, hone_error *err)
{
    hone_calibration_weight *grown =
        hone_grow(calibration->weights, &calibration->cap, calibration->n + 1, sizeof weight);
    if (grown)
        calibration->weights = grown;
    weight.name = hone_arena_copy(&calibration->names, weight.name, strlen(weight.name));
    if (!grown || !weight.name)
        return hone_fail_nomem(err, (calibration->n + 1) * sizeof weight);
    calibration->weights[calibration->n++] = weight;
    return HONE_OK;
}

void hone_calibration_free(hone_calibration *calibration)
{
    if (!calibration)
        return;
    hone_release(calibration->weights);
    hone_arena_deinit(&calibration->names);
    hone_release(calibration);
}

size_t hone_calibration_n(const hone_calibration *calibration)
{
    return calibration->n;
}

hone_calibration_weight hone_calibration_at(const hone_calibration *calibration, size_t i)
{
    return calibration->weights[i];
}

uint64_t hone_calibration_tokens(const hone_calibration *calibration)
{
    return calibration->n_tokens;
}

uint64_t hone_calibration_chunks(const hone_calibration *calibration)
{
    return calibration->n_chunks;
}
