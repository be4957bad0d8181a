/* SPDX-License-Identifier: MIT */
/* Sources as a whole: directories, shards, configuration, look-up, reading, checksums. */
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <xxhash.h>

#include "base/mem.h"
#include "formats/gguf_writer.h"
#include "formats/sources.h"
#include "tests/support/byte_builder.h"
#include "tests/support/source_fixture.h"

Suite *hone_suite_checkpoint(void);

/* A shard with one tensor of four bytes, 0 1 2 3, for each name of a space-separated list. */
static const char *write_shard(const char *file, const char *names)
{
    char header[1024] = "{", copy[256];
    unsigned n = 0;
    (void)snprintf(copy, sizeof copy, "%s", names);
    for (const char *name = strtok(copy, " "); name; name = strtok(NULL, " "), n++) {
        const size_t len = strlen(header);
        (void)snprintf(header + len, sizeof header - len,
                       "%s\"%s\":{\"dtype\":\"U8\",\"shape\":[4],\"data_offsets\":[%u,%u]}", n ? "," : "", name, 4 * n,
                       4 * n + 4);
    }
    strcat(header, "}");
    hone_bytes b = {0};
    hone_bytes_u64(&b, strlen(header));
    hone_bytes_put(&b, header, strlen(header));
    for (; n > 0; n--)
        hone_bytes_put(&b, "\0\1\2\3", 4);
    const char *path = hone_temp_file(&dir, file, b.data, b.n);
    hone_bytes_free(&b);
    return path;
}

static void write_config(void)
{
    (void)hone_temp_text(&dir, "config.json", "{\"architectures\": [\"LlamaForCausalLM\"]}");
}

static void write_index(const char *weight_map)
{
    char text[1024];
    (void)snprintf(text, sizeof text, "{\"metadata\": {}, \"weight_map\": %s}", weight_map);
    (void)hone_temp_text(&dir, "model.safetensors.index.json", text);
}

static void expect_failure(const char *path, hone_status status, const char *file_suffix, const char *item)
{
    hone_checkpoint dirty;
    ckpt = &dirty;
    const hone_status got = hone_checkpoint_open(path, NULL, &ckpt, &err);
    ck_assert_msg(got == status, "%s, not %s (%s)", hone_status_name(got), hone_status_name(status), err.reason);
    ck_assert_ptr_null(ckpt);
    const size_t len = strlen(err.file), suffix_len = strlen(file_suffix);
    ck_assert_msg(len >= suffix_len && strcmp(err.file + len - suffix_len, file_suffix) == 0, "file %s", err.file);
    ck_assert_str_eq(err.item, item);
}

static void expect_success(const char *path, const hone_open_options *opts)
{
    const hone_status got = hone_checkpoint_open(path, opts, &ckpt, &err);
    ck_assert_msg(got == HONE_OK, "%s: %s: %s", err.file, err.item, err.reason);
    ck_assert_str_eq(hone_checkpoint_path(ckpt), path);
}

/* ---- directories ---- */

START_TEST(opens_a_directory)
{
    write_config();
    write_shard("model.safetensors", "a b");
    expect_success(dir.path, NULL);
    ck_assert_str_eq(hone_checkpoint_architecture(ckpt), "LlamaForCausalLM");
    ck_assert_str_eq(hone_checkpoint_format(ckpt), "safetensors");
    ck_assert_uint_eq(hone_checkpoint_n_files(ckpt), 1);
    ck_assert_ptr_nonnull(hone_checkpoint_config(ckpt));
    ck_assert_ptr_null(hone_checkpoint_file(ckpt, 1));
}
END_TEST

START_TEST(opens_a_directory_with_one_file_of_any_name)
{
    write_config();
    write_shard("weights-v2.safetensors", "a");
    expect_success(dir.path, NULL);
}
END_TEST

START_TEST(opens_weights_without_config)
{
    write_shard("model.safetensors", "a");
    expect_success(dir.path, NULL);
    ck_assert_ptr_null(hone_checkpoint_config(ckpt));
}
END_TEST

START_TEST(rejects_a_directory_without_config_and_weights)
{
    expect_failure(dir.path, HONE_ERROR_ARG, dir.path, "");
    ck_assert_str_eq(err.reason, "no config.json and no weights in this directory");
    ck_assert_uint_eq(err.offset, HONE_NO_OFFSET);
}
END_TEST

START_TEST(takes_a_config_from_elsewhere)
{
    write_shard("model.safetensors", "a");
    char path[600];
    (void)snprintf(path, sizeof path, "%s", hone_temp_text(&dir, "other.json", "{\"architectures\": [\"X\"]}"));
    const hone_open_options opts = {.config = path};
    expect_success(dir.path, &opts);
    ck_assert_str_eq(hone_checkpoint_architecture(ckpt), "X");
}
END_TEST

START_TEST(rejects_a_directory_without_weights)
{
    write_config();
    expect_failure(dir.path, HONE_ERROR_FORMAT, dir.path, "");
    ck_assert_ptr_nonnull(strstr(err.reason, "no weights found"));
}
END_TEST

START_TEST(rejects_two_files_without_index)
{
    write_config();
    write_shard("x.safetensors", "a");
    write_shard("y.safetensors", "b");
    expect_failure(dir.path, HONE_ERROR_FORMAT, dir.path, "");
}
END_TEST

START_TEST(rejects_bad_config)
{
    write_shard("model.safetensors", "a");
    (void)hone_temp_text(&dir, "config.json", "[]");
    expect_failure(dir.path, HONE_ERROR_DATA, "/config.json", "");
    ck_assert_uint_eq(err.offset, 0);
    (void)hone_temp_text(&dir, "config.json", "{\"a\": 1");
    expect_failure(dir.path, HONE_ERROR_DATA, "/config.json", "");
    ck_assert_uint_eq(err.offset, 7);
}
END_TEST

START_TEST(architecture_is_null_unless_a_string)
{
    static const char *const configs[] = {"{}", "{\"architectures\": []}", "{\"architectures\": [3]}",
                                          "{\"architectures\": \"X\"}"};
    write_shard("model.safetensors", "a");
    (void)hone_temp_text(&dir, "config.json", configs[_i]);
    expect_success(dir.path, NULL);
    ck_assert_ptr_null(hone_checkpoint_architecture(ckpt));
}
END_TEST

/* ---- shards ---- */

START_TEST(opens_every_shard)
{
    write_config();
    write_shard("m-2.safetensors", "c a");
    write_shard("m-1.safetensors", "b");
    write_index("{\"a\": \"m-2.safetensors\", \"b\": \"m-1.safetensors\", \"c\": \"m-2.safetensors\"}");
    expect_success(dir.path, NULL);
    ck_assert_uint_eq(hone_checkpoint_n_files(ckpt), 2);
    ck_assert_uint_eq(hone_checkpoint_n_tensors(ckpt), 3);
    ck_assert_uint_eq(hone_checkpoint_find(ckpt, "b")->file, 0);
    ck_assert_uint_eq(hone_checkpoint_find(ckpt, "a")->file, 1);
    uint64_t nbytes = 0;
    for (size_t i = 0; i < 2; i++) {
        struct stat st;
        ck_assert_int_eq(stat(hone_checkpoint_file(ckpt, i), &st), 0);
        nbytes += (uint64_t)st.st_size;
    }
    ck_assert_uint_eq(hone_checkpoint_nbytes(ckpt), nbytes);
}
END_TEST

START_TEST(names_the_shard_that_is_absent)
{
    write_config();
    write_shard("m-1.safetensors", "a");
    write_index("{\"a\": \"m-1.safetensors\", \"b\": \"m-2.safetensors\"}");
    expect_failure(dir.path, HONE_ERROR_ARG, "/m-2.safetensors", "");
}
END_TEST

START_TEST(rejects_an_index_that_disagrees_with_the_shards)
{
    static const struct {
        const char *map, *file, *item;
    } cases[] = {
        /* m-1 holds a and b, m-2 holds c */
        {"{\"a\": \"m-1.safetensors\", \"b\": \"m-1.safetensors\", \"c\": \"m-2.safetensors\", \"d\": "
         "\"m-2.safetensors\"}",
         ".index.json", "d"},
        {"{\"a\": \"m-1.safetensors\", \"b\": \"m-2.safetensors\", \"c\": \"m-2.safetensors\"}", ".index.json", "b"},
        {"{\"a\": \"m-1.safetensors\", \"c\": \"m-2.safetensors\"}", "/m-1.safetensors", "b"},
        {"{\"a\": \"../m-1.safetensors\"}", ".index.json", "a"},
        {"{\"a\": \"sub/m-1.safetensors\"}", ".index.json", "a"},
        {"{\"a\": \"/m-1.safetensors\"}", ".index.json", "a"},
        {"{\"a\": \"..\"}", ".index.json", "a"},
        {"{\"a\": \"\"}", ".index.json", "a"},
        {"{\"a\": 1}", ".index.json", "a"},
        {"{}", ".index.json", ""},
        {"[]", ".index.json", ""},
    };
    write_config();
    write_shard("m-1.safetensors", "a b");
    write_shard("m-2.safetensors", "c");
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        write_index(cases[i].map);
        expect_failure(dir.path, HONE_ERROR_DATA, cases[i].file, cases[i].item);
    }
}
END_TEST

START_TEST(rejects_a_tensor_in_two_shards)
{
    write_config();
    write_shard("m-1.safetensors", "a b");
    write_shard("m-2.safetensors", "b c");
    write_index("{\"a\": \"m-1.safetensors\", \"b\": \"m-1.safetensors\", \"c\": \"m-2.safetensors\"}");
    expect_failure(dir.path, HONE_ERROR_DATA, "/m-2.safetensors", "b");
    struct stat st;
    ck_assert_int_eq(stat(hone_temp_path(&dir, "m-2.safetensors"), &st), 0);
    ck_assert_uint_eq(err.offset, (uint64_t)st.st_size - 8);
}
END_TEST

START_TEST(every_failing_allocation_of_a_sharded_open_is_reported)
{
    write_config();
    write_shard("m-1.safetensors", "a");
    write_shard("m-2.safetensors", "b");
    write_index("{\"a\": \"m-1.safetensors\", \"b\": \"m-2.safetensors\"}");
    fail_each_allocation_of_opening(dir.path, 16);
}
END_TEST

/* ---- single files ---- */

START_TEST(a_single_file_uses_the_config_beside_it)
{
    char path[600];
    (void)snprintf(path, sizeof path, "%s", write_shard("x.safetensors", "a"));
    expect_success(path, NULL);
    ck_assert_ptr_null(hone_checkpoint_config(ckpt));
    hone_checkpoint_close(ckpt);
    write_config();
    expect_success(path, NULL);
    ck_assert_str_eq(hone_checkpoint_architecture(ckpt), "LlamaForCausalLM");
}
END_TEST

START_TEST(content_decides_not_the_name)
{
    char path[600];
    (void)snprintf(path, sizeof path, "%s", write_shard("x.gguf", "a"));
    expect_success(path, NULL);
    ck_assert_str_eq(hone_checkpoint_format(ckpt), "safetensors");
}
END_TEST

START_TEST(rejects_what_is_no_checkpoint)
{
    expect_failure(hone_temp_path(&dir, "absent"), HONE_ERROR_ARG, "/absent", "");
    expect_failure(hone_temp_text(&dir, "notes.txt", "hello"), HONE_ERROR_FORMAT, "/notes.txt", "");
    ck_assert_uint_eq(err.offset, 0);
    expect_failure(hone_temp_text(&dir, "empty", ""), HONE_ERROR_FORMAT, "/empty", "");
}
END_TEST

/* ---- look-up and reading ---- */

START_TEST(finds_every_tensor_by_name)
{
    expect_success(write_shard("x.safetensors", "w10 w9 b aa a z"), NULL);
    for (size_t i = 0; i < hone_checkpoint_n_tensors(ckpt); i++) {
        const hone_tensor *t = hone_checkpoint_tensor(ckpt, i);
        ck_assert_ptr_eq(hone_checkpoint_find(ckpt, t->name), t);
    }
    ck_assert_ptr_null(hone_checkpoint_find(ckpt, "w"));
    ck_assert_ptr_null(hone_checkpoint_find(ckpt, ""));
    ck_assert_ptr_null(hone_checkpoint_find(ckpt, "zz"));
}
END_TEST

START_TEST(reads_only_inside_the_tensor)
{
    static const struct {
        uint64_t offset;
        size_t nbytes;
        hone_status status;
    } cases[] = {
        {0, 4, HONE_OK},
        {1, 2, HONE_OK},
        {4, 0, HONE_OK},
        {0, 5, HONE_ERROR_ARG},
        {3, 2, HONE_ERROR_ARG},
        {5, 0, HONE_ERROR_ARG},
        {UINT64_MAX, 1, HONE_ERROR_ARG},
        {1, SIZE_MAX, HONE_ERROR_ARG},
    };
    expect_success(write_shard("x.safetensors", "a b"), NULL);
    const hone_tensor *t = hone_checkpoint_find(ckpt, "b");
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        uint8_t bytes[4] = {9, 9, 9, 9};
        const hone_status status = hone_checkpoint_read(ckpt, t, cases[i].offset, cases[i].nbytes, bytes, &err);
        ck_assert_int_eq(status, cases[i].status);
        for (size_t k = 0; k < sizeof bytes; k++)
            ck_assert_uint_eq(bytes[k], status == HONE_OK && k < cases[i].nbytes ? cases[i].offset + k : 9);
        if (status != HONE_OK)
            ck_assert_str_eq(err.item, "b");
    }
}
END_TEST

static hone_status read_sevens(const hone_checkpoint *c, const hone_tensor *t, uint64_t offset, size_t nbytes,
                               void *dst, hone_error *e)
{
    (void)c, (void)t, (void)offset, (void)e;
    memset(dst, 7, nbytes);
    return HONE_OK;
}

START_TEST(a_view_is_read_through_its_function_and_bounded)
{
    static const hone_view view = {.read = read_sevens};
    expect_success(write_shard("x.safetensors", "a"), NULL);
    hone_tensor t = *hone_checkpoint_tensor(ckpt, 0);
    t.name = "v";
    t.shape[0] = t.nelems = t.nbytes = 1000; /* more than the file holds */
    ck_assert_int_eq(hone_checkpoint_add_tensor(ckpt, &t, 0, &err), HONE_ERROR_DATA);
    t.view = &view;
    ck_assert_int_eq(hone_checkpoint_add_tensor(ckpt, &t, 0, &err), HONE_OK);
    uint8_t bytes[2] = {0};
    ck_assert_int_eq(hone_checkpoint_read(ckpt, &t, 998, 2, bytes, &err), HONE_OK);
    ck_assert_uint_eq(bytes[1], 7);
    ck_assert_int_eq(hone_checkpoint_read(ckpt, &t, 999, 2, bytes, &err), HONE_ERROR_ARG);
}
END_TEST

START_TEST(reports_a_file_that_shrank)
{
    char path[600];
    (void)snprintf(path, sizeof path, "%s", write_shard("x.safetensors", "a"));
    expect_success(path, NULL);
    const hone_tensor *t = hone_checkpoint_tensor(ckpt, 0);
    ck_assert_int_eq(truncate(path, (off_t)t->offset + 1), 0);
    uint8_t bytes[4];
    ck_assert_int_eq(hone_checkpoint_read(ckpt, t, 0, 4, bytes, &err), HONE_ERROR_DATA);
    ck_assert_uint_eq(err.offset, t->offset + 1);
    ck_assert_str_eq(err.item, "a");
    ck_assert_str_eq(err.file, path);
}
END_TEST

START_TEST(reads_sidecar_files)
{
    expect_success(write_shard("x.safetensors", "a"), NULL);
    (void)hone_temp_text(&dir, "vocab.txt", "one\ntwo");
    char *text;
    size_t len;
    ck_assert_int_eq(hone_checkpoint_sidecar(ckpt, "vocab.txt", 100, &text, &len, &err), HONE_OK);
    ck_assert_str_eq(text, "one\ntwo");
    ck_assert_uint_eq(len, 7);
    hone_release(text);
    ck_assert_int_eq(hone_checkpoint_sidecar(ckpt, "absent.txt", 100, &text, &len, &err), HONE_OK);
    ck_assert_ptr_null(text);
    ck_assert_int_eq(hone_checkpoint_sidecar(ckpt, "vocab.txt", 6, &text, &len, &err), HONE_ERROR_LIMIT);
    ck_assert_ptr_null(text);
}
END_TEST

/* ---- checksums ---- */

enum { BIG = (1 << 20) + 4096, N_SUMMED = 3 };

/* A GGUF file of three tensors, one longer than the reader's chunk, one empty; its sums go where the key's value is. */
static const char *write_three(hone_gguf_header *h, void (*put_sums)(hone_bytes *b, const hone_gguf_header *h,
                                                                     const hone_gguf_layout *layout))
{
    hone_gguf_add_tensor(h, "big", HONE_F32, 1, (const uint64_t[]){BIG / 4});
    hone_gguf_add_tensor(h, "empty", HONE_F32, 1, (const uint64_t[]){0});
    hone_gguf_add_tensor(h, "small", HONE_I8, 1, (const uint64_t[]){5});
    hone_gguf_layout layout;
    ck_assert_int_eq(hone_gguf_finish(h, 32, &layout, NULL), HONE_OK);
    hone_bytes b = {0};
    hone_bytes_put(&b, layout.bytes, layout.nbytes);
    hone_bytes_zero(&b, (size_t)(layout.file_nbytes - layout.data_start));
    for (size_t i = 0; i < BIG; i++)
        b.data[layout.offsets[0] + i] = (uint8_t)(i * 7 + i / 251);
    memcpy(b.data + layout.offsets[2], "hone!", 5);
    put_sums(&b, h, &layout);
    const char *path = hone_temp_file(&dir, "summed.gguf", b.data, b.n);
    hone_bytes_free(&b);
    hone_gguf_layout_deinit(&layout);
    hone_gguf_free(h);
    return path;
}

static size_t n_sums_put;

static void put_each_sum(hone_bytes *b, const hone_gguf_header *h, const hone_gguf_layout *layout)
{
    const uint64_t at = hone_gguf_payload_offset(h, "hone.tensor_xxh3");
    for (size_t i = 0; i < N_SUMMED && i < n_sums_put; i++) {
        const uint64_t sum = XXH3_64bits(b->data + layout->offsets[i], layout->sizes[i]);
        memcpy(b->data + at + 8 * i, &sum, sizeof sum);
    }
    const uint64_t header_sum = XXH3_64bits(b->data, layout->nbytes);
    memcpy(b->data + hone_gguf_payload_offset(h, "hone.header_xxh3"), &header_sum, sizeof header_sum);
}

/* Right sums unless n_sums says otherwise. */
static const char *write_summed(uint64_t n_sums)
{
    hone_gguf_header *h = hone_gguf_new();
    hone_gguf_put_u64_array(h, "hone.tensor_xxh3", NULL, n_sums);
    hone_gguf_put_u64(h, "hone.header_xxh3", 0);
    n_sums_put = n_sums;
    return write_three(h, put_each_sum);
}

/* a x, a shift and what overflows. */
static uint64_t shifted(uint64_t a)
{
    return a >> 63 ? a << 1 ^ 0x1b : a << 1;
}

static void put_joint_sums(hone_bytes *b, const hone_gguf_header *h, const hone_gguf_layout *layout)
{
    uint64_t words[2];
    words[0] = words[1] = XXH3_64bits(b->data, layout->nbytes);
    for (size_t i = 0; i < N_SUMMED; i++) {
        uint64_t sum = XXH3_64bits(b->data + layout->offsets[i], layout->sizes[i]);
        words[0] ^= sum;
        for (size_t j = 0; j <= i; j++)
            sum = shifted(sum);
        words[1] ^= sum;
    }
    memcpy(b->data + hone_gguf_payload_offset(h, "hone.xxh3"), words, sizeof words);
}

/* The same with joint sums. */
static const char *write_jointly_summed(void)
{
    hone_gguf_header *h = hone_gguf_new();
    hone_gguf_put_u64_array(h, "hone.xxh3", NULL, 2);
    return write_three(h, put_joint_sums);
}

static hone_context *make_context(int n_threads, hone_progress_fn progress, void *user)
{
    const hone_context_options opts = {.n_threads = n_threads, .progress = progress, .user = user};
    hone_context *ctx;
    ck_assert_int_eq(hone_context_new(&opts, &ctx, NULL), HONE_OK);
    return ctx;
}

static void note_progress(void *user, const char *phase, uint64_t done, uint64_t total)
{
    uint64_t *last = user;
    ck_assert_str_eq(phase, "check");
    ck_assert(done >= last[0] && done <= total);
    last[0] = done;
    last[1] = total;
}

START_TEST(checksums_that_agree_pass)
{
    uint64_t last[2] = {0};
    expect_success(write_summed(N_SUMMED), NULL);
    hone_context *ctx = make_context(_i, note_progress, last);
    size_t n_checked;
    const hone_status status = hone_checkpoint_check(ctx, ckpt, &n_checked, &err);
    ck_assert_msg(status == HONE_OK, "%s", err.reason);
    ck_assert_uint_eq(n_checked, N_SUMMED);
    ck_assert_uint_eq(last[0], BIG + 5);
    ck_assert_uint_eq(last[1], BIG + 5);
    hone_context_free(ctx);
}
END_TEST

static void flip_bit(const char *path, uint64_t at, unsigned bit)
{
    FILE *f = fopen(path, "r+b");
    ck_assert_ptr_nonnull(f);
    ck_assert_int_eq(fseek(f, (long)at, SEEK_SET), 0);
    const int c = fgetc(f);
    ck_assert_int_eq(fseek(f, (long)at, SEEK_SET), 0);
    ck_assert_int_eq(fputc(c ^ 1 << bit, f), c ^ 1 << bit);
    ck_assert_int_eq(fclose(f), 0);
}

static void flip_byte(const char *path, uint64_t at)
{
    flip_bit(path, at, 0);
}

START_TEST(one_flipped_bit_is_found)
{
    static const struct {
        size_t tensor;
        uint64_t at;
        size_t n_checked;
    } cases[] = {{0, 0, 0}, {0, BIG - 1, 0}, {2, 4, 2}};
    char path[600];
    (void)snprintf(path, sizeof path, "%s", write_summed(N_SUMMED));
    expect_success(path, NULL);
    hone_context *ctx = make_context(2, NULL, NULL);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        const hone_tensor *t = hone_checkpoint_tensor(ckpt, cases[i].tensor);
        flip_byte(path, t->offset + cases[i].at);
        size_t n_checked;
        ck_assert_int_eq(hone_checkpoint_check(ctx, ckpt, &n_checked, &err), HONE_ERROR_MISMATCH);
        ck_assert_str_eq(err.item, t->name);
        ck_assert_str_eq(err.file, path);
        ck_assert_uint_eq(err.offset, t->offset);
        ck_assert_uint_eq(n_checked, cases[i].n_checked);
        flip_byte(path, t->offset + cases[i].at);
    }
    hone_context_free(ctx);
}
END_TEST

/* One bit at a time, in every byte of the header and of the padding: the reader or the check takes offence, says where,
 * and both at least name the file. */
START_TEST(a_flipped_bit_outside_the_tensors_is_found)
{
    char path[600];
    (void)snprintf(path, sizeof path, "%s", _i ? write_jointly_summed() : write_summed(N_SUMMED));
    expect_success(path, NULL);
    const uint64_t data_start = hone_checkpoint_tensor(ckpt, 0)->offset;
    const uint64_t padding = hone_checkpoint_tensor(ckpt, 2)->offset + 5, end = padding + 32 - 5;
    hone_checkpoint_close(ckpt);
    ckpt = NULL;
    hone_context *ctx = make_context(1, NULL, NULL);
    for (uint64_t at = 0; at < end; at = at + 1 == data_start ? padding : at + 1) {
        const unsigned bit = (unsigned)(at * 5 % 8);
        flip_bit(path, at, bit);
        hone_checkpoint *damaged = NULL;
        size_t n_checked = 0;
        hone_status status = hone_checkpoint_open(path, NULL, &damaged, &err);
        if (status == HONE_OK)
            status = hone_checkpoint_check(ctx, damaged, &n_checked, &err);
        ck_assert_msg(status != HONE_OK && status != HONE_ERROR_NOMEM, "bit %u of byte %u", bit, (unsigned)at);
        ck_assert_str_eq(err.file, path);
        if (status == HONE_ERROR_MISMATCH)
            ck_assert_str_eq(err.item, at >= data_start ? "small" : _i ? "hone.xxh3" : "hone.header_xxh3");
        if (at >= data_start)
            ck_assert_uint_eq(err.offset, at);
        hone_checkpoint_close(damaged);
        flip_bit(path, at, bit);
    }
    hone_context_free(ctx);
}
END_TEST

/* Two words tell which tensor it is, if it is one. */
START_TEST(joint_sums_tell_one_damaged_tensor)
{
    static const char *const names[] = {"big", NULL, "small"};
    char path[600];
    size_t n_checked;
    (void)snprintf(path, sizeof path, "%s", write_jointly_summed());
    hone_context *ctx = make_context(3, NULL, NULL);
    expect_success(path, NULL);
    ck_assert_int_eq(hone_checkpoint_check(ctx, ckpt, &n_checked, &err), HONE_OK);
    ck_assert_uint_eq(n_checked, N_SUMMED);
    for (size_t i = 0; i < N_SUMMED; i += 2) {
        const hone_tensor *t = hone_checkpoint_tensor(ckpt, i);
        for (uint64_t at = 0; at < t->nbytes; at += 1 + t->nbytes / 5) {
            flip_bit(path, t->offset + at, (unsigned)at % 8);
            ck_assert_int_eq(hone_checkpoint_check(ctx, ckpt, &n_checked, &err), HONE_ERROR_MISMATCH);
            ck_assert_str_eq(err.item, names[i]);
            ck_assert_uint_eq(err.offset, t->offset);
            ck_assert_uint_eq(n_checked, i);
            flip_bit(path, t->offset + at, (unsigned)at % 8);
        }
    }
    flip_byte(path, hone_checkpoint_tensor(ckpt, 0)->offset);
    flip_byte(path, hone_checkpoint_tensor(ckpt, 2)->offset);
    ck_assert_int_eq(hone_checkpoint_check(ctx, ckpt, &n_checked, &err), HONE_ERROR_MISMATCH);
    ck_assert_str_eq(err.item, "hone.xxh3");
    ck_assert_uint_eq(n_checked, 0);
    hone_context_free(ctx);
}
END_TEST

START_TEST(a_tail_too_many_or_too_few_is_found)
{
    char path[600];
    (void)snprintf(path, sizeof path, "%s", write_summed(N_SUMMED));
    hone_context *ctx = make_context(1, NULL, NULL);
    expect_success(path, NULL);
    const uint64_t nbytes = hone_checkpoint_nbytes(ckpt);
    hone_checkpoint_close(ckpt);
    for (int longer = 0; longer <= 1; longer++) {
        ck_assert_int_eq(truncate(path, (off_t)(longer ? nbytes + 1 : nbytes - 1)), 0);
        size_t n_checked;
        expect_success(path, NULL);
        ck_assert_int_eq(hone_checkpoint_check(ctx, ckpt, &n_checked, &err), HONE_ERROR_MISMATCH);
        ck_assert_uint_eq(err.offset, longer ? nbytes : nbytes - 1);
        hone_checkpoint_close(ckpt);
        ckpt = NULL;
    }
    hone_context_free(ctx);
}
END_TEST

START_TEST(the_first_of_two_damaged_tensors_is_named)
{
    char path[600];
    (void)snprintf(path, sizeof path, "%s", write_summed(N_SUMMED));
    expect_success(path, NULL);
    flip_byte(path, hone_checkpoint_tensor(ckpt, 0)->offset);
    flip_byte(path, hone_checkpoint_tensor(ckpt, 2)->offset);
    hone_context *ctx = make_context(3, NULL, NULL);
    size_t n_checked;
    ck_assert_int_eq(hone_checkpoint_check(ctx, ckpt, &n_checked, &err), HONE_ERROR_MISMATCH);
    ck_assert_str_eq(err.item, "big");
    hone_context_free(ctx);
}
END_TEST

START_TEST(a_file_without_sums_cannot_be_checked)
{
    hone_context *ctx = make_context(1, NULL, NULL);
    size_t n_checked = 7;
    expect_success(write_shard("x.safetensors", "a"), NULL);
    ck_assert_int_eq(hone_checkpoint_check(ctx, ckpt, &n_checked, &err), HONE_ERROR_UNSUPPORTED);
    ck_assert_uint_eq(n_checked, 0);
    hone_checkpoint_close(ckpt);
    expect_success(write_summed(2), NULL);
    ck_assert_int_eq(hone_checkpoint_check(ctx, ckpt, &n_checked, &err), HONE_ERROR_DATA);
    ck_assert_str_eq(err.item, "hone.tensor_xxh3");
    hone_context_free(ctx);
}
END_TEST

/* ---- real files ---- */

START_TEST(opens_real_checkpoints)
{
    static const struct {
        const char *name, *architecture;
        size_t n_tensors, n_metadata;
    } cases[] = {
        {"story-llama", "LlamaForCausalLM", 20, 2},
        {"story-llama-bf16/model.safetensors", "LlamaForCausalLM", 20, 1},
        {"bert-all-zero", "BertForMaskedLM", 42, 1},
        {"lstm-bronte", NULL, 11, 1},
        {"vocab/ggml-vocab-llama-spm.gguf", "llama", 0, 22},
        {"vocab/ggml-vocab-falcon.gguf", "falcon", 0, 18},
    };
    const char *path = hone_test_model(cases[_i].name);
    if (!path)
        return;
    expect_success(path, NULL);
    ck_assert_uint_eq(hone_checkpoint_n_tensors(ckpt), cases[_i].n_tensors);
    ck_assert_uint_eq(hone_checkpoint_n_metadata(ckpt), cases[_i].n_metadata);
    const char *architecture = hone_checkpoint_architecture(ckpt);
    ck_assert_str_eq(architecture ? architecture : "-", cases[_i].architecture ? cases[_i].architecture : "-");
}
END_TEST

Suite *hone_suite_checkpoint(void)
{
    Suite *suite = suite_create("checkpoint");
    TCase *core = tcase_create("core");
    tcase_add_checked_fixture(core, set_up_source, tear_down_source);
    tcase_add_test(core, opens_a_directory);
    tcase_add_test(core, opens_a_directory_with_one_file_of_any_name);
    tcase_add_test(core, takes_a_config_from_elsewhere);
    tcase_add_loop_test(core, architecture_is_null_unless_a_string, 0, 4);
    tcase_add_test(core, opens_every_shard);
    tcase_add_test(core, a_single_file_uses_the_config_beside_it);
    tcase_add_test(core, content_decides_not_the_name);
    tcase_add_test(core, finds_every_tensor_by_name);
    tcase_add_test(core, reads_only_inside_the_tensor);
    tcase_add_test(core, reads_sidecar_files);
    tcase_add_test(core, a_view_is_read_through_its_function_and_bounded);
    tcase_add_loop_test(core, opens_real_checkpoints, 0, 6);
    suite_add_tcase(suite, core);
    TCase *bad = tcase_create("malformed");
    tcase_add_checked_fixture(bad, set_up_source, tear_down_source);
    tcase_add_test(bad, opens_weights_without_config);
    tcase_add_test(bad, rejects_a_directory_without_config_and_weights);
    tcase_add_test(bad, rejects_a_directory_without_weights);
    tcase_add_test(bad, rejects_two_files_without_index);
    tcase_add_test(bad, rejects_bad_config);
    tcase_add_test(bad, names_the_shard_that_is_absent);
    tcase_add_test(bad, rejects_an_index_that_disagrees_with_the_shards);
    tcase_add_test(bad, rejects_a_tensor_in_two_shards);
    tcase_add_test(bad, rejects_what_is_no_checkpoint);
    tcase_add_test(bad, reports_a_file_that_shrank);
    tcase_add_test(bad, every_failing_allocation_of_a_sharded_open_is_reported);
    suite_add_tcase(suite, bad);
    TCase *sums = tcase_create("checksums");
    tcase_add_checked_fixture(sums, set_up_source, tear_down_source);
    tcase_add_loop_test(sums, checksums_that_agree_pass, 1, 4);
    tcase_add_test(sums, one_flipped_bit_is_found);
    tcase_add_loop_test(sums, a_flipped_bit_outside_the_tensors_is_found, 0, 2);
    tcase_add_test(sums, joint_sums_tell_one_damaged_tensor);
    tcase_add_test(sums, a_tail_too_many_or_too_few_is_found);
    tcase_add_test(sums, the_first_of_two_damaged_tensors_is_named);
    tcase_add_test(sums, a_file_without_sums_cannot_be_checked);
    suite_add_tcase(suite, sums);
    return suite;
}
