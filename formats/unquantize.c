/* SPDX-License-Identifier: MIT */
/* Finding the quantization config, letting its method take the parts, and reading rows of what it made. */
#include "formats/unquantize.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/fail.h"
#include "base/mem.h"
#include "formats/json.h"

static const uint64_t MAX_SIDECAR_NBYTES = 1 << 20;
static const uint64_t MAX_COLS = 1 << 24;
enum { DEFAULT_ROWS_NELEMS = 1 << 16 };

static const struct {
    const char *name; /* quant_method in the config */
    const hone_unquantize_method *method;
} methods[] = {
    {"gptq", &hone_unquantize_gptq},
    {"awq", &hone_unquantize_awq},
    {"compressed-tensors", &hone_unquantize_compressed},
    {"fp8", &hone_unquantize_fp8},
    {"fbgemm_fp8", &hone_unquantize_fp8},
    {"modelopt", &hone_unquantize_modelopt},
    {"mlx", &hone_unquantize_mlx},
    {"bitsandbytes", &hone_unquantize_bnb},
};

struct source {
    const char *method;   /* its name, or NULL: nothing is quantized */
    const json_t *config; /* borrowed from the checkpoint or from owned */
    const char *key;      /* the root's member that config is; NULL: it is the root */
    json_t *owned;
    char *path; /* of the file owned came from */
};

/* Tools that name no method are known by the keys they write. */
static const char *method_name(const json_t *config)
{
    const char *name = json_string_value(json_object_get(config, "quant_method"));
    if (name)
        return name;
    if (json_is_true(json_object_get(config, "load_in_4bit")) || json_is_true(json_object_get(config, "load_in_8bit")))
        return "bitsandbytes";
    if (json_object_get(config, "quant_algo"))
        return "modelopt";
    if (json_object_get(config, "config_groups"))
        return "compressed-tensors";
    if (json_object_get(config, "bits") && json_object_get(config, "group_size"))
        return "mlx";
    return NULL;
}

static bool find_in_config(const hone_checkpoint *ckpt, struct source *out)
{
    static const char *const keys[] = {"quantization_config", "quantization", "compression_config"};
    for (size_t i = 0; i < sizeof keys / sizeof keys[0]; i++) {
        const json_t *config = json_object_get(ckpt->config, keys[i]);
        if (!json_is_object(config) || !method_name(config))
            continue;
        out->config = config;
        out->key = keys[i];
        out->method = method_name(config);
        return true;
    }
    return false;
}

/* Before there was a key in config.json, tools wrote files of their own. */
static hone_status find_in_sidecar(const hone_checkpoint *ckpt, const char *name, const char *method,
                                   struct source *out, hone_error *err)
{
    out->path = hone_path_join(ckpt->dir, name);
    if (!out->path)
        return hone_fail_nomem(err, strlen(name));
    if (!hone_file_exists(out->path)) {
        hone_release(out->path);
        out->path = NULL;
        return HONE_OK;
    }
    HONE_TRY(hone_json_read(out->path, MAX_SIDECAR_NBYTES, &out->owned, err));
    const json_t *inner = json_object_get(out->owned, "quantization");
    out->config = json_is_object(inner) ? inner : out->owned;
    out->key = json_is_object(inner) ? "quantization" : NULL;
    out->method = method;
    return HONE_OK;
}

static hone_status find_source(const hone_checkpoint *ckpt, struct source *out, hone_error *err)
{
    if (!ckpt->config || find_in_config(ckpt, out))
        return HONE_OK;
    HONE_TRY(find_in_sidecar(ckpt, "quantize_config.json", "gptq", out, err));
    return out->method ? HONE_OK : find_in_sidecar(ckpt, "hf_quant_config.json", "modelopt", out, err);
}

hone_status hone_quant_config_fail(const hone_unquantize_pass *pass, hone_error *err, hone_status status,
                                   const char *key, const char *fmt, ...)
{
    char reason[256];
    va_list args;
    va_start(args, fmt);
    (void)vsnprintf(reason, sizeof reason, fmt, args);
    va_end(args);
    (void)hone_fail(err, status, HONE_NO_OFFSET, key, "quantization config: %s", reason);
    return hone_json_place_error(pass->config_path, pass->config_key, status, err);
}

hone_status hone_quant_config_int(const hone_unquantize_pass *pass, const json_t *object, const char *key, int64_t min,
                                  int64_t max, int64_t *out, hone_error *err)
{
    const json_t *value = json_object_get(object, key);
    if (!value || json_is_null(value))
        return HONE_OK;
    const int64_t v = json_integer_value(value);
    if (!json_is_integer(value) || v < min || v > max)
        return hone_quant_config_fail(pass, err, HONE_ERROR_DATA, key, "not an integer in [%lld, %lld]", (long long)min,
                                      (long long)max);
    *out = v;
    return HONE_OK;
}

/* Reads what does not cover whole rows through one row of scratch. */
static hone_status read_piece(const hone_checkpoint *ckpt, const hone_unquantizer *u, size_t row, size_t col, size_t n,
                              void *dst, hone_error *err)
{
    float *scratch = hone_alloc(u->n_cols, sizeof *scratch);
    if (!scratch)
        return hone_fail_nomem(err, u->n_cols * sizeof *scratch);
    const hone_status status = u->unpack(ckpt, u, row, 1, scratch, err);
    if (status == HONE_OK)
        memcpy(dst, scratch + col, n * sizeof *scratch);
    hone_release(scratch);
    return status;
}

static hone_status read_view(const hone_checkpoint *ckpt, const hone_tensor *tensor, uint64_t offset, size_t nbytes,
                             void *dst, hone_error *err)
{
    const hone_unquantizer *u = (const hone_unquantizer *)tensor->view;
    const uint64_t total = (uint64_t)u->n_rows * u->n_cols;
    uint64_t at = offset / sizeof(float);
    size_t left = nbytes / sizeof(float);
    if (offset % sizeof(float) != 0 || nbytes % sizeof(float) != 0 || at > total || left > total - at)
        return hone_fail(err, HONE_ERROR_ARG, offset, tensor->name, "not a range of whole elements");
    const bool aligned = (uintptr_t)dst % sizeof(float) == 0;
    char *p = dst;
    while (left > 0) {
        const size_t row = (size_t)(at / u->n_cols), col = (size_t)(at % u->n_cols);
        size_t n = left < u->n_cols - col ? left : u->n_cols - col;
        if (aligned && n == u->n_cols) {
            const size_t whole = left / u->n_cols, nrows = whole < u->max_rows ? whole : u->max_rows;
            n = nrows * u->n_cols;
            HONE_TRY(u->unpack(ckpt, u, row, nrows, (float *)(void *)p, err));
        } else {
            HONE_TRY(read_piece(ckpt, u, row, col, n, p, err));
        }
        p += n * sizeof(float);
        at += n;
        left -= n;
    }
    return HONE_OK;
}

/* What a quantized layer stores for quantizing its inputs and outputs; no weight. */
static void drop_activation_scales(hone_unquantize_pass *pass, const hone_tensor *t, size_t stem_len)
{
    static const char *const suffixes[] = {"input_scale",  "input_zero_point",  "input_global_scale", "input_g_idx",
                                           "output_scale", "output_zero_point", "activation_scale"};
    hone_tensor ignored;
    for (size_t i = 0; i < sizeof suffixes / sizeof suffixes[0]; i++)
        hone_part_take_optional(pass, t, stem_len, suffixes[i], &ignored);
}

hone_status hone_unquantize_put(hone_unquantize_pass *pass, const hone_tensor *t, size_t stem_len, uint64_t out,
                                uint64_t in, hone_unquantizer *u, hone_error *err)
{
    hone_checkpoint *ckpt = pass->ckpt;
    if (out == 0 || in == 0)
        return hone_part_fail(ckpt, t, err, HONE_ERROR_DATA, "a weight without elements");
    if (in > MAX_COLS)
        return hone_part_fail(ckpt, t, err, HONE_ERROR_LIMIT, "rows of %llu elements, at most %llu",
                              (unsigned long long)in, (unsigned long long)MAX_COLS);
    hone_tensor made = {.dtype = HONE_F32, .n_dims = 2, .shape = {out, in}, .file = t->file, .offset = t->offset};
    const char *wrong = hone_tensor_measure(&made);
    if (wrong)
        return hone_part_fail(ckpt, t, err, HONE_ERROR_DATA, "%s", wrong);
    char *name = hone_arena_alloc(&ckpt->arena, stem_len + sizeof "weight", 1);
    if (!name)
        return hone_fail_nomem(err, stem_len);
    memcpy(name, t->name, stem_len);
    memcpy(name + stem_len, "weight", sizeof "weight");
    u->view.read = read_view;
    u->n_rows = (size_t)out;
    u->n_cols = (size_t)in;
    if (u->max_rows == 0)
        u->max_rows = DEFAULT_ROWS_NELEMS / u->n_cols + 1;
    made.name = name;
    made.view = &u->view;
    const size_t i = (size_t)(t - ckpt->tensors);
    pass->made[i] = made;
    pass->n_made++;
    drop_activation_scales(pass, t, stem_len);
    return HONE_OK;
}

/* Scales of a quantized key-value cache belong to a way of running the model. */
static bool is_cache_scale(const char *name)
{
    size_t stem_len;
    return hone_part_stem(name, "k_scale", &stem_len) || hone_part_stem(name, "v_scale", &stem_len);
}

static hone_status take_all(hone_unquantize_pass *pass, const hone_unquantize_method *method, hone_error *err)
{
    if (method->prepare)
        HONE_TRY(method->prepare(pass, err));
    for (size_t i = 0; i < pass->ckpt->n_tensors; i++)
        HONE_TRY(method->take(pass, &pass->ckpt->tensors[i], err));
    return HONE_OK;
}

static hone_status rebuild_tables(hone_unquantize_pass *pass, hone_error *err)
{
    hone_checkpoint *ckpt = pass->ckpt;
    size_t n = 0;
    for (size_t i = 0; i < ckpt->n_tensors; i++) {
        if (pass->made[i].name)
            ckpt->tensors[n++] = pass->made[i];
        else if (!pass->dropped[i] && !is_cache_scale(ckpt->tensors[i].name))
            ckpt->tensors[n++] = ckpt->tensors[i];
    }
    ckpt->n_tensors = n;
    return hone_checkpoint_seal_tables(ckpt, err);
}

static hone_status run_pass(hone_checkpoint *ckpt, const struct source *source, hone_error *err)
{
    hone_unquantize_pass pass = {.ckpt = ckpt,
                                 .config = source->config,
                                 .config_path = source->path ? source->path : ckpt->config_path,
                                 .config_key = source->key};
    const hone_unquantize_method *method = NULL;
    for (size_t i = 0; i < sizeof methods / sizeof methods[0]; i++)
        if (strcmp(source->method, methods[i].name) == 0)
            method = methods[i].method;
    if (!method)
        return hone_quant_config_fail(&pass, err, HONE_ERROR_UNSUPPORTED, "quant_method",
                                      "the method \"%s\" is not handled", source->method);
    pass.dropped = hone_calloc(ckpt->n_tensors, sizeof *pass.dropped);
    pass.made = hone_calloc(ckpt->n_tensors, sizeof *pass.made);
    hone_status status;
    if (pass.dropped && pass.made)
        status = take_all(&pass, method, err);
    else
        status = hone_fail_nomem(err, ckpt->n_tensors * sizeof *pass.made);
    if (status == HONE_OK && pass.n_made > 0)
        status = rebuild_tables(&pass, err);
    hone_release(pass.dropped);
    hone_release(pass.made);
    return status;
}

hone_status hone_checkpoint_unquantize(hone_checkpoint *ckpt, hone_error *err)
{
    struct source source = {0};
    hone_status status = find_source(ckpt, &source, err);
    if (status == HONE_OK && source.method)
        status = run_pass(ckpt, &source, err);
    json_decref(source.owned);
    hone_release(source.path);
    return status;
}
