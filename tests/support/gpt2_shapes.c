/* SPDX-License-Identifier: MIT */
#include "tests/support/gpt2_shapes.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void plain(hone_toy_gpt2 *toy)
{
    (void)toy;
}
static void untied(hone_toy_gpt2 *toy)
{
    toy->untied = true;
}
static void inner_of_null(hone_toy_gpt2 *toy)
{
    toy->no_inner = true;
    toy->n_ff = 4 * toy->n_embd;
}
static void inner_not_said(hone_toy_gpt2 *toy)
{
    toy->skip_key = "n_inner";
    toy->n_ff = 4 * toy->n_embd;
}
static void other_epsilon(hone_toy_gpt2 *toy)
{
    toy->eps = 0.125;
}
static void one_head(hone_toy_gpt2 *toy)
{
    toy->n_heads = 1;
}
static void gelu_new(hone_toy_gpt2 *toy)
{
    toy->act = "gelu_new";
}
static void gelu_fast(hone_toy_gpt2 *toy)
{
    toy->act = "gelu_fast";
}
static void gelu_pytorch_tanh(hone_toy_gpt2 *toy)
{
    toy->act = "gelu_pytorch_tanh";
}
static void gelu(hone_toy_gpt2 *toy)
{
    toy->act = "gelu";
    toy->exact_gelu = true;
}
static void unscaled(hone_toy_gpt2 *toy)
{
    toy->unscaled = true;
}
static void scaled_by_layer(hone_toy_gpt2 *toy)
{
    toy->layered = true;
}
static void bare_names(hone_toy_gpt2 *toy)
{
    toy->bare = true;
}
static void bare_names_untied(hone_toy_gpt2 *toy)
{
    toy->bare = toy->untied = true;
}
static void stored_masks(hone_toy_gpt2 *toy)
{
    toy->masks = true;
}

static const struct {
    const char *name;
    void (*apply)(hone_toy_gpt2 *toy);
} shapes[] = {
    {"plain", plain},
    {"untied", untied},
    {"inner_of_null", inner_of_null},
    {"inner_not_said", inner_not_said},
    {"other_epsilon", other_epsilon},
    {"one_head", one_head},
    {"gelu_new", gelu_new},
    {"gelu_fast", gelu_fast},
    {"gelu_pytorch_tanh", gelu_pytorch_tanh},
    {"gelu", gelu},
    {"unscaled", unscaled},
    {"scaled_by_layer", scaled_by_layer},
    {"bare_names", bare_names},
    {"bare_names_untied", bare_names_untied},
    {"stored_masks", stored_masks},
};

void hone_gpt2_reshape(hone_toy_gpt2 *toy, const char *shape)
{
    for (size_t i = 0; i < sizeof shapes / sizeof shapes[0]; i++)
        if (strcmp(shapes[i].name, shape) == 0) {
            shapes[i].apply(toy);
            return;
        }
    (void)fprintf(stderr, "no shape %s\n", shape);
    abort();
}
