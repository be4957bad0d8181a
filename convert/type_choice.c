/* SPDX-License-Identifier: MIT */
#include "convert/type_choice.h"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>
#include <string.h>
#include <strings.h>

#include "base/fail.h"
#include "base/mem.h"
#include "convert/budget_types.h"

struct hone_type_choice {
    const hone_mix *mix; /* NULL: a float type */
    hone_dtype plain;    /* the float type */
    bool automatic;      /* f16 where it can, else bf16 */
    bool keep;           /* as stored */
    bool pure;
    const hone_budget *budget;    /* or NULL: settles the types of all that has a choice */
    hone_dtype output, embedding; /* asked for by themselves, or HONE_INVALID */
    pcre2_code **patterns;
    hone_dtype *pattern_dtypes;
    size_t n_patterns;
};

static hone_status resolve(const char *type, hone_type_choice *c, hone_error *err)
{
    if (c->budget) {
        c->automatic = true;
        c->plain = HONE_F16;
        return HONE_OK;
    }
    if (!type) {
        c->keep = true;
        return HONE_OK;
    }
    if (strcasecmp(type, "auto") == 0) {
        c->automatic = true;
        c->plain = HONE_F16;
        return HONE_OK;
    }
    c->mix = hone_mix_find(type);
    if (c->mix)
        return HONE_OK;
    c->plain = hone_dtype_from_name(type);
    if (c->plain == HONE_F32 || c->plain == HONE_F16 || c->plain == HONE_BF16)
        return HONE_OK;
    return hone_fail(err, HONE_ERROR_ARG, HONE_NO_OFFSET, NULL,
                     "unknown type \"%s\" (auto f32 f16 bf16 q8_0 q4_0 q4_1 q5_0 q5_1 q2_k q2_k_s q3_k_s q3_k_m q3_k_l "
                     "q4_k_s q4_k_m q5_k_s q5_k_m q6_k iq4_nl iq4_xs iq3_m iq3_s iq3_xs iq3_xxs iq2_m iq2_s iq2_xs "
                     "iq2_xxs iq1_m iq1_s tq1_0 tq2_0 mxfp4_moe nvfp4 q1_0 q2_0)",
                     type);
}

static hone_status compile(const hone_convert_options *opts, hone_type_choice *c, hone_error *err)
{
    c->patterns = hone_calloc(opts->n_rules, sizeof(pcre2_code *));
    c->pattern_dtypes = hone_calloc(opts->n_rules, sizeof *c->pattern_dtypes);
    if (!c->patterns || !c->pattern_dtypes)
        return hone_fail_nomem(err, opts->n_rules * sizeof *c->patterns);
    for (size_t i = 0; i < opts->n_rules; i++) {
        int code;
        PCRE2_SIZE at;
        c->patterns[i] =
            pcre2_compile((PCRE2_SPTR)opts->rules[i].pattern, PCRE2_ZERO_TERMINATED, PCRE2_UTF, &code, &at, NULL);
        if (!c->patterns[i]) {
            char why[160] = "";
            (void)pcre2_get_error_message(code, (PCRE2_UCHAR *)why, sizeof why);
            return hone_fail(err, HONE_ERROR_ARG, at, NULL, "bad pattern \"%s\": %s", opts->rules[i].pattern, why);
        }
        c->pattern_dtypes[i] = opts->rules[i].dtype;
        c->n_patterns++;
    }
    return HONE_OK;
}

hone_status hone_type_choice_new(const hone_convert_options *opts, hone_type_choice **out, hone_error *err)
{
    *out = NULL;
    hone_type_choice *c = hone_calloc(1, sizeof *c);
    if (!c)
        return hone_fail_nomem(err, sizeof *c);
    c->pure = opts->pure;
    c->budget = opts->budget;
    c->output = opts->output_dtype;
    c->embedding = opts->embedding_dtype;
    hone_status status = resolve(opts->type, c, err);
    if (status == HONE_OK)
        status = compile(opts, c, err);
    if (status != HONE_OK) {
        hone_type_choice_free(c);
        return status;
    }
    *out = c;
    return HONE_OK;
}

void hone_type_choice_free(hone_type_choice *c)
{
    if (!c)
        return;
    for (size_t i = 0; i < c->n_patterns; i++)
        pcre2_code_free(c->patterns[i]);
    hone_release(c->patterns);
    hone_release(c->pattern_dtypes);
    hone_release(c);
}

uint32_t hone_type_file_type(const hone_type_choice *c)
{
    const hone_mix *mix = c->mix;
    if (c->budget) /* what most of the file is */
        mix = hone_mix_find(hone_dtype_describe(hone_budget_main_type(c->budget))->name);
    if (mix)
        return (uint32_t)mix->file_type;
    return c->plain == HONE_F32 ? 0 : c->plain == HONE_F16 ? 1 : 32; /* llama.h: ALL_F32, MOSTLY_F16, MOSTLY_BF16 */
}

/* The type of the first rule that matches, or HONE_INVALID. */
static hone_status match_rules(const hone_type_choice *c, const char *name, hone_dtype *out, hone_error *err)
{
    *out = HONE_INVALID;
    for (size_t i = 0; i < c->n_patterns && *out == HONE_INVALID; i++) {
        pcre2_match_data *data = pcre2_match_data_create_from_pattern(c->patterns[i], NULL);
        if (!data)
            return hone_fail_nomem(err, 64);
        const int n = pcre2_match(c->patterns[i], (PCRE2_SPTR)name, PCRE2_ZERO_TERMINATED, 0, 0, data, NULL);
        pcre2_match_data_free(data);
        if (n >= 0)
            *out = c->pattern_dtypes[i];
    }
    return HONE_OK;
}

/* f16 ends at 65504: look before choosing it for values from a wider type. */
static hone_status avoid_overflow(const hone_context *ctx, const hone_plan *plan, const hone_type_choice *c,
                                  hone_planned_tensor *t, hone_error *err)
{
    if (!t->source || t->source->dtype == HONE_F16 || plan->saturate)
        return HONE_OK;
    bool found;
    uint64_t index;
    HONE_TRY(hone_find_f16_overflow(ctx, plan, t, &found, &index, err));
    if (!found)
        return HONE_OK;
    const hone_dtype_info *info = hone_dtype_describe(t->source->dtype);
    if (!c->automatic)
        return hone_fail(err, HONE_ERROR_DATA, t->source->offset + index / info->block_nelems * info->block_nbytes,
                         t->source->name,
                         "element %llu is too large for f16 (use --type auto or bf16, or --force to clamp)",
                         (unsigned long long)index);
    t->dtype = HONE_BF16;
    t->why = "overflows f16";
    hone_context_note(ctx, "tensor \"%s\": element %llu is too large for f16; stored as bf16", t->source->name,
                      (unsigned long long)index);
    return HONE_OK;
}

static hone_dtype choose_block_type(const hone_plan *plan, const hone_type_choice *c, const hone_planned_tensor *t)
{
    if (c->pure)
        return c->mix->dtype;
    const hone_mix_tensor m = {
        .role = t->role, .layer = t->layer, .row_nelems = t->row_nelems, .stacked = t->n_dims > 2 && t->shape[0] > 1};
    return hone_mix_choose(c->mix, &plan->model, &m);
}

/* The type that --output-type or --embedding-type asks for, or HONE_INVALID. */
static hone_dtype end_type(const hone_plan *plan, const hone_type_choice *c, const hone_planned_tensor *t)
{
    if (t->role == HONE_ROLE_TOKEN_EMBD && c->embedding != HONE_INVALID)
        return c->embedding;
    if (t->role == HONE_ROLE_OUTPUT || (t->role == HONE_ROLE_TOKEN_EMBD && plan->model.tied))
        return c->output;
    return HONE_INVALID;
}

hone_status hone_type_choose(const hone_context *ctx, const hone_plan *plan, const hone_type_choice *c,
                             hone_planned_tensor *t, hone_error *err)
{
    hone_dtype ruled;
    HONE_TRY(match_rules(c, t->name, &ruled, err));
    if (ruled == HONE_INVALID)
        ruled = end_type(plan, c, t);
    if (ruled != HONE_INVALID && t->n_dims >= 2 && !t->keep_f32) {
        t->dtype = hone_mix_fallback(ruled, t->row_nelems);
        t->ruled = true;
        t->why = t->dtype == ruled ? "rule" : "rule; row length";
        return HONE_OK;
    }
    if (t->n_dims < 2 || t->keep_f32 || t->role == HONE_ROLE_KEEP) {
        t->dtype = HONE_F32;
        t->why = "small";
        return HONE_OK;
    }
    if (!c->mix) {
        const hone_dtype settled = c->budget ? hone_budget_type(c->budget, t->name) : HONE_INVALID;
        t->dtype = settled != HONE_INVALID ? settled : c->plain;
        if (c->budget)
            t->why = settled != HONE_INVALID ? "budget" : "row length";
        return t->dtype == HONE_F16 ? avoid_overflow(ctx, plan, c, t, err) : HONE_OK;
    }
    const hone_dtype wanted = choose_block_type(plan, c, t);
    t->dtype = hone_mix_fallback(wanted, t->row_nelems);
    if (t->dtype != wanted)
        t->why = "row length";
    else if (wanted != c->mix->dtype)
        t->why = "mix";
    if (t->dtype == HONE_F16)
        return avoid_overflow(ctx, plan, c, t, err);
    return HONE_OK;
}

bool hone_type_keeps(const hone_type_choice *c)
{
    return c->keep;
}

hone_status hone_type_choose_float(const hone_context *ctx, const hone_plan *plan, const hone_type_choice *c,
                                   hone_planned_tensor *t, hone_error *err)
{
    const bool blocks = hone_dtype_describe(t->source->dtype)->is_quantized;
    if (c->keep) {
        t->dtype = blocks ? HONE_F32 : t->source->dtype;
        t->why = blocks ? "decoded" : "";
        return HONE_OK;
    }
    t->dtype = c->plain;
    return t->dtype == HONE_F16 ? avoid_overflow(ctx, plan, c, t, err) : HONE_OK;
}
