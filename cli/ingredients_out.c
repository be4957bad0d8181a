/* SPDX-License-Identifier: MIT */
#include "cli/ingredients_out.h"

#include <stdlib.h>
#include <string.h>

#include "cli/report.h"
#include "cli/table.h"

/* One choice: whose, whether it was taken, and the errors without and with it. */
struct choice {
    const char *name;
    bool taken;
    double error, new_error;
};

/* What a tensor is called without its layer: "attn_norm.weight". */
static const char *kind(const char *name)
{
    const char *after = strncmp(name, "blk.", 4) == 0 ? strchr(name + 4, '.') : NULL;
    return after ? after + 1 : name;
}

static bool seen_before(const struct choice *choices, size_t i)
{
    for (size_t j = 0; j < i; j++)
        if (strcmp(kind(choices[j].name), kind(choices[i].name)) == 0)
            return true;
    return false;
}

/* The last column is left out of what has no errors. */
static void print_choices(const char *columns, const struct choice *choices, size_t n)
{
    hone_cli_table *t = hone_cli_table_new(columns);
    const bool with_errors = strstr(columns, "error") != NULL;
    for (size_t i = 0; i < n; i++) {
        if (seen_before(choices, i))
            continue;
        size_t n_alike = 0, n_taken = 0;
        double error = 0, new_error = 0;
        for (size_t j = i; j < n; j++) {
            if (strcmp(kind(choices[j].name), kind(choices[i].name)) != 0)
                continue;
            n_alike++;
            n_taken += choices[j].taken;
            error += choices[j].error;
            new_error += choices[j].new_error;
        }
        hone_cli_table_cell(t, "%s", kind(choices[i].name));
        hone_cli_table_cell(t, "%zu", n_taken);
        hone_cli_table_cell(t, "%zu", n_alike);
        if (with_errors)
            hone_cli_table_cell(t, "%+.1f %%", error > 0 ? 100 * (new_error / error - 1) : 0);
    }
    hone_cli_table_print(t);
}

void hone_cli_print_methods(const hone_plan *plan)
{
    const size_t n = hone_plan_describe(plan).n_tensors;
    struct choice *choices = hone_cli_alloc(n, sizeof *choices);
    size_t n_choices = 0;
    for (size_t i = 0; i < n; i++) {
        const hone_plan_tensor t = hone_plan_tensor_at(plan, i);
        if (t.has_moments)
            choices[n_choices++] = (struct choice){.name = t.name, .taken = t.has_feedback};
    }
    print_choices("<tensors|>by gptq|>of", choices, n_choices);
    free(choices);
}

static struct choice fold_choice(const hone_fold_group *g)
{
    return (struct choice){g->name, g->folded_error < g->error, g->error, g->folded_error};
}

void hone_cli_print_fold(const hone_fold *fold)
{
    const size_t n = hone_fold_n(fold);
    struct choice *choices = hone_cli_alloc(n, sizeof *choices);
    for (size_t i = 0; i < n; i++) {
        const hone_fold_group g = hone_fold_at(fold, i);
        choices[i] = fold_choice(&g);
    }
    print_choices("<factors into|>folded|>of|>output error", choices, n);
    free(choices);
}

static struct choice correction_choice(const hone_correction_tensor *t)
{
    return (struct choice){t->name, t->corrected_error < t->error, t->error, t->corrected_error};
}

void hone_cli_print_correction(const hone_correction *correction)
{
    const size_t n = hone_correction_n(correction);
    struct choice *choices = hone_cli_alloc(n, sizeof *choices);
    for (size_t i = 0; i < n; i++) {
        const hone_correction_tensor t = hone_correction_at(correction, i);
        choices[i] = correction_choice(&t);
    }
    print_choices("<made up for by|>corrected|>of|>output error", choices, n);
    free(choices);
}

static json_t *choice_json(const struct choice *c, const char *taken, const char *new_error)
{
    json_t *o = hone_cli_json_object();
    hone_cli_json_put(o, "name", hone_cli_json_text(c->name));
    hone_cli_json_put(o, taken, hone_cli_json_bool(c->taken));
    hone_cli_json_put(o, "error", hone_cli_json_real(c->error));
    hone_cli_json_put(o, new_error, hone_cli_json_real(c->new_error));
    return o;
}

json_t *hone_cli_fold_json(const hone_fold *fold)
{
    json_t *groups = hone_cli_json_array();
    for (size_t i = 0; i < hone_fold_n(fold); i++) {
        const hone_fold_group g = hone_fold_at(fold, i);
        const struct choice c = fold_choice(&g);
        json_t *o = choice_json(&c, "folded", "folded_error");
        hone_cli_json_put(o, "input_power", hone_cli_json_real(g.input_power));
        hone_cli_json_put(o, "weight_power", hone_cli_json_real(g.weight_power));
        hone_cli_json_add(groups, o);
    }
    return groups;
}

json_t *hone_cli_correction_json(const hone_correction *correction)
{
    json_t *tensors = hone_cli_json_array();
    for (size_t i = 0; i < hone_correction_n(correction); i++) {
        const hone_correction_tensor t = hone_correction_at(correction, i);
        const struct choice c = correction_choice(&t);
        hone_cli_json_add(tensors, choice_json(&c, "corrected", "corrected_error"));
    }
    return tensors;
}
