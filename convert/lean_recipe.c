/* SPDX-License-Identifier: MIT */
#include "convert/lean_recipe.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/fail.h"
#include "base/mem.h"
#include "formats/json.h"

/* The method and what else was done, by name. */
static void join_methods(json_t *recipe)
{
    static const char *const ingredients[][2] = {
        {"fold", "fold"}, {"correction", "correct"}, {"sequential", "sequential"}};
    enum { N_INGREDIENTS = sizeof ingredients / sizeof ingredients[0] };
    char text[64];
    const char *method = json_string_value(json_object_get(recipe, "method"));
    int len = snprintf(text, sizeof text, "%s", method ? method : "");
    for (size_t i = 0; i < N_INGREDIENTS; i++) {
        if (!json_object_get(recipe, ingredients[i][0]))
            continue;
        len += snprintf(text + len, sizeof text - (size_t)len, "%s%s", len ? "+" : "", ingredients[i][1]);
        (void)json_object_del(recipe, ingredients[i][0]);
    }
    if (len > 0)
        (void)json_object_set_new(recipe, "method", json_string(text));
    (void)json_object_del(recipe, "methods");
}

/* A rotation alone, as find_transforms() in formats/probe.c reads it. */
static void shorten_transforms(json_t *recipe)
{
    json_t *transforms = json_object_get(recipe, "transforms"), *rotation = json_object_get(transforms, "rotation");
    if (!rotation || json_object_size(transforms) != 1)
        return;
    (void)json_object_set(recipe, "rotation", rotation);
    (void)json_object_del(recipe, "transforms");
}

/* A file is told by its name, and not at all where marks tell its texts. */
static void shorten_file(json_t *recipe, const char *key, bool marked)
{
    json_t *name = json_object_get(json_object_get(recipe, key), "file");
    if (marked)
        (void)json_object_del(recipe, key);
    else if (name)
        (void)json_object_set(recipe, key, name);
}

static void drop_what_is_known(json_t *recipe)
{
    const char *search = json_string_value(json_object_get(recipe, "search"));
    if (search && strcmp(search, hone_search_name(HONE_SEARCH_BEST)) == 0)
        (void)json_object_del(recipe, "search");
    if (json_is_false(json_object_get(recipe, "pure")))
        (void)json_object_del(recipe, "pure");
    if (json_array_size(json_object_get(recipe, "rules")) == 0)
        (void)json_object_del(recipe, "rules");
    (void)json_object_del(recipe, "source");
    (void)json_object_del(recipe, "type");
}

/* Fails when out of memory only. */
static bool shorten(json_t *recipe, const char *texts)
{
    drop_what_is_known(recipe);
    join_methods(recipe);
    shorten_transforms(recipe);
    shorten_file(recipe, "calibration", texts[0]);
    shorten_file(recipe, "imatrix", texts[0]);
    return !texts[0] || json_object_set_new(recipe, "texts", json_string(texts)) == 0;
}

hone_status hone_lean_recipe(hone_plan *plan, const char *recipe, const hone_text_marks *texts, const char **out,
                             hone_error *err)
{
    json_t *root;
    HONE_TRY(hone_json_parse(recipe, strlen(recipe), 0, &root, err));
    char *packed = hone_text_marks_packed(texts);
    char *text = packed && shorten(root, packed) ? json_dumps(root, JSON_COMPACT | JSON_SORT_KEYS) : NULL;
    *out = text ? hone_arena_copy(&plan->arena, text, strlen(text)) : NULL;
    free(text);
    hone_release(packed);
    json_decref(root);
    return *out ? HONE_OK : hone_fail_nomem(err, strlen(recipe));
}
