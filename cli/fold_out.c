/* SPDX-License-Identifier: MIT */
#include "cli/fold_out.h"

#include <string.h>

#include "cli/table.h"

/* What a group is called without its layer: "attn_norm.weight". */
static const char *kind(const char *name)
{
    const char *after = strncmp(name, "blk.", 4) == 0 ? strchr(name + 4, '.') : NULL;
    return after ? after + 1 : name;
}

static bool seen_before(const hone_fold *fold, size_t i)
{
    for (size_t j = 0; j < i; j++)
        if (strcmp(kind(hone_fold_at(fold, j).name), kind(hone_fold_at(fold, i).name)) == 0)
            return true;
    return false;
}

static bool is_folded(const hone_fold_group *g)
{
    return g->folded_error < g->error;
}

void hone_cli_print_fold(const hone_fold *fold)
{
    hone_cli_table *t = hone_cli_table_new("<factors into|>folded|>of|>output error");
    for (size_t i = 0; i < hone_fold_n(fold); i++) {
        if (seen_before(fold, i))
            continue;
        const char *name = kind(hone_fold_at(fold, i).name);
        size_t n = 0, n_folded = 0;
        double error = 0, folded_error = 0;
        for (size_t j = i; j < hone_fold_n(fold); j++) {
            const hone_fold_group g = hone_fold_at(fold, j);
            if (strcmp(kind(g.name), name) != 0)
                continue;
            n++;
            n_folded += is_folded(&g);
            error += g.error;
            folded_error += g.folded_error;
        }
        hone_cli_table_cell(t, "%s", name);
        hone_cli_table_cell(t, "%zu", n_folded);
        hone_cli_table_cell(t, "%zu", n);
        hone_cli_table_cell(t, "%+.1f %%", error > 0 ? 100 * (folded_error / error - 1) : 0);
    }
    hone_cli_table_print(t);
}

json_t *hone_cli_fold_json(const hone_fold *fold)
{
    json_t *groups = hone_cli_json_array();
    for (size_t i = 0; i < hone_fold_n(fold); i++) {
        const hone_fold_group g = hone_fold_at(fold, i);
        json_t *o = hone_cli_json_object();
        hone_cli_json_put(o, "name", hone_cli_json_text(g.name));
        hone_cli_json_put(o, "folded", hone_cli_json_bool(is_folded(&g)));
        hone_cli_json_put(o, "error", hone_cli_json_real(g.error));
        hone_cli_json_put(o, "folded_error", hone_cli_json_real(g.folded_error));
        hone_cli_json_put(o, "input_power", hone_cli_json_real(g.input_power));
        hone_cli_json_put(o, "weight_power", hone_cli_json_real(g.weight_power));
        hone_cli_json_add(groups, o);
    }
    return groups;
}
