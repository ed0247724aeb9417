/*
 * cmd/yaml.h: JSON as YAML 1.2 (block style), which a parser of YAML 1.1 reads as the same, too.
 */
#pragma once

#include "base/base.h"

#include <jansson.h>

void yaml_add(const json_t *j, struct strbuf *out);
