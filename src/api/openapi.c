/*
 * api/openapi.c: the OpenAPI 3.1 document of the rows: paths from the routes, schemas from the field tables.
 */
#include "api/api.h"
#include "conf/conf_value.h"

#include <stdlib.h>

static json_t *schema_of_fields(const struct field *fields, bool optional);

static json_t *words(const struct field *f)
{
    json_t *list = json_array();

    for (u32 i = 0; f->words[i]; i++)
        json_array_append_new(list, json_string(f->words[i]));
    return json_pack("{s:s, s:o}", "type", "string", "enum", list);
}

/* A size may be text with a suffix, and a number beyond JSON's own, too. */
static json_t *number(const struct field *f)
{
    const u64 most = min(conf_int_max(f), (u64)INT64_MAX);
    json_t *n = json_pack("{s:s, s:I, s:I}", "type", "integer", "minimum", (json_int_t)f->min,
                          "maximum", (json_int_t)most);

    if (!f->bytes && f->size < sizeof(u64))
        return n;
    return json_pack("{s:[o, {s:s, s:s}]}", "anyOf", n, "type", "string", "pattern",
                     "^[0-9a-fA-Fx]+[KMGT]?(iB|B)?$");
}

/* Calls go down the tables that the program declares. */
static json_t *schema_of(const struct field *f)
{
    switch (f->kind) {
    case FIELD_KIND_INT:
        return number(f);
    case FIELD_KIND_BOOL:
        return json_pack("{s:s}", "type", "boolean");
    case FIELD_KIND_STR:
        return json_pack("{s:s}", "type", "string");
    case FIELD_KIND_ENUM:
        return words(f);
    case FIELD_KIND_LIST:
        return json_pack("{s:s, s:I, s:o}", "type", "array", "maxItems", (json_int_t)f->list_max,
                         "items", schema_of_fields(f->sub, false));
    case FIELD_KIND_OBJ:
        return schema_of_fields(f->sub, false);
    case FIELD_KIND_STRS:
        return json_pack("{s:s, s:I, s:{s:s}}", "type", "array", "maxItems",
                         (json_int_t)f->list_max, "items", "type", "string");
    case FIELD_KIND_MAP:
        return json_pack("{s:s, s:I, s:{s:s}}", "type", "object", "maxProperties",
                         (json_int_t)f->list_max, "additionalProperties", "type", "string");
    }
    return json_object();
}

static json_t *describe(json_t *schema, const struct field *f)
{
    AUTO(strbuf) struct strbuf doc = {};

    conf_help_doc(f, &doc);
    json_object_set_new(schema, "description", json_string(doc.text ? doc.text : ""));
    return schema;
}

static json_t *schema_of_fields(const struct field *fields, bool optional)
{
    json_t *members = json_object(), *required = json_array(), *j;

    for (const struct field *f = fields; f->name; f++) {
        json_t *s = schema_of(f);

        if (optional)
            s = json_pack("{s:[o, {s:s}]}", "anyOf", s, "type", "null");
        json_object_set_new(members, f->name, describe(s, f));
        if (f->required && !optional)
            json_array_append_new(required, json_string(f->name));
    }
    j = json_pack("{s:s, s:o, s:b}", "type", "object", "properties", members,
                  "additionalProperties", 0);
    if (json_array_size(required))
        json_object_set(j, "required", required);
    json_decref(required);
    return j;
}

static json_t *reference(const char *name)
{
    AUTO(free) char *ref = str_new("#/components/schemas/%s", name);

    return json_pack("{s:s}", "$ref", ref);
}

static json_t *schema_of_row(const struct api_schema *s)
{
    json_t *j = schema_of_fields(api_schema_fields(s), s->optional);
    json_t *members = json_object_get(j, "properties");

    for (const struct field *f = s->also; f && f->name; f++)
        if (!f->secret)
            json_object_set_new(members, f->name, describe(schema_of(f), f));
    if (s->status)
        json_object_set_new(members, "status", reference(s->status));
    return j;
}

static json_t *all_schemas(void)
{
    json_t *all = json_object(), *error;

    for_each_api_schema(s)
        json_object_set_new(all, s->name, schema_of_row(s));
    error = json_pack("{s:s, s:{s:{s:s, s:{s:{s:s}, s:{s:s}, s:{s:s}}, s:[s, s]}}, s:[s]}", "type",
                      "object", "properties", "error", "type", "object", "properties", "code",
                      "type", "string", "sentence", "type", "string", "field", "type", "string",
                      "required", "code", "sentence", "required", "error");
    json_object_set_new(all, "Error", error);
    return all;
}

static json_t *content(const char *type, json_t *schema)
{
    return json_pack("{s:{s:o}}", type, "schema", schema);
}

static json_t *bytes(void)
{
    return json_pack("{s:{}}", "application/octet-stream");
}

static json_t *answer_of(const struct api_route *r)
{
    json_t *schema;

    if (r->bytes && !r->answer)
        return json_pack("{s:s, s:o}", "description", "Bytes", "content", bytes());
    if (!r->answer)
        return json_pack("{s:s}", "description", "Done");
    schema = reference(r->answer);
    if (r->list)
        schema =
            json_pack("{s:s, s:{s:{s:s, s:o}, s:{s:s, s:s}}, s:[s]}", "type", "object",
                      "properties", "list", "type", "array", "items", schema, "next", "type",
                      "string", "description", "give it as `after` for more", "required", "list");
    return json_pack("{s:s, s:o}", "description", "Done", "content",
                     content("application/json", schema));
}

static json_t *parameters(const struct api_route *r)
{
    json_t *list = json_array();

    for (const char *open = strchr(r->path, '{'); open; open = strchr(open + 1, '{')) {
        AUTO(free) char *name = str_new("%.*s", (int)strcspn(open + 1, "}"), open + 1);

        json_array_append_new(list, json_pack("{s:s, s:s, s:b, s:{s:s}}", "name", name, "in",
                                              "path", "required", 1, "schema", "type", "string"));
    }
    for (const struct field *f = r->query; f && f->name; f++)
        json_array_append_new(list, describe(json_pack("{s:s, s:s, s:o}", "name", f->name, "in",
                                                       "query", "schema", schema_of(f)),
                                             f));
    if (api_takes_key(r))
        json_array_append_new(
            list, json_pack("{s:s, s:s, s:{s:s, s:i, s:i}, s:s}", "name", "Idempotency-Key", "in",
                            "header", "schema", "type", "string", "minLength", 1, "maxLength",
                            ONCE_KEY_MAX, "description",
                            "sent again with the same key within a day, the request is done once, "
                            "and answered as the first time"));
    return list;
}

const char *api_right_name(u32 right)
{
    static const struct {
        u32 right;
        const char *name;
    } names[] = {
        { API_VIEW, "view" }, { API_OPERATE, "operate" }, { API_ADMIN, "admin" },
        { API_SELF, "self" }, { API_PUBLIC, "public" },   { API_SHELL, "shell" },
    };

    for_each_row(n, names)
        if (n->right == right)
            return n->name;
    must(false);
}

static void lower(char *s)
{
    for (; *s; s++)
        if (*s >= 'A' && *s <= 'Z')
            *s = (char)(*s | 0x20);
}

static json_t *error_answer(void)
{
    return json_pack("{s:s, s:o}", "description", "What is wrong", "content",
                     content("application/json", reference("Error")));
}

/* "get_instances_name_exports": what generated clients call it. */
static json_t *id_of(const struct api_route *r)
{
    AUTO(strbuf) struct strbuf id = {};

    strbuf_add(&id, "%s", r->method);
    for (const char *p = r->path + strlen("/1.0"); *p; p++)
        if (*p == '/' || *p == '.')
            strbuf_add(&id, "_");
        else if (*p != '{' && *p != '}')
            strbuf_add_mem(&id, p, 1);
    lower(id.text);
    return json_string(id.text);
}

static json_t *operation(const struct api_route *r)
{
    AUTO(free) char *status = str_new("%d", r->status);
    json_t *j = json_pack("{s:o, s:s, s:s, s:o, s:{s:o, s:o, s:o}}", "operationId", id_of(r),
                          "summary", r->doc, "x-right", api_right_name(r->right), "parameters",
                          parameters(r), "responses", status, answer_of(r), "4XX", error_answer(),
                          "default", error_answer());

    if (r->right == API_PUBLIC)
        json_object_set_new(j, "security", json_array());
    if (r->bytes && strcmp(r->method, "GET") != 0)
        json_object_set_new(j, "requestBody",
                            json_pack("{s:b, s:o}", "required", 1, "content", bytes()));
    if (r->body)
        json_object_set_new(j, "requestBody",
                            json_pack("{s:b, s:o}", "required", 1, "content",
                                      content("application/json", reference(r->body))));
    return j;
}

/* What is shown over HTTPS; on the unix socket the kernel says who asks. */
static json_t *logins(void)
{
    return json_pack("{s:{s:s, s:s, s:s}, s:{s:s, s:s, s:s, s:s}}", "token", "type", "http",
                     "scheme", "bearer", "description",
                     "a token, or a session that was asked for as text; not on the unix socket",
                     "session", "type", "apiKey", "in", "cookie", "name", ACCESS_COOKIE,
                     "description", "what a login gives a browser; not on the unix socket");
}

json_t *api_openapi(void)
{
    json_t *paths = json_object();

    for_each_api_route(r) {
        AUTO(free) char *method = xdup(r->method);
        json_t *path = json_object_get(paths, r->path);

        lower(method);
        if (!path) {
            path = json_object();
            json_object_set_new(paths, r->path, path);
        }
        json_object_set_new(path, method, operation(r));
    }
    return json_pack("{s:s, s:{s:s, s:s, s:{s:s, s:s}}, s:[{s:s}], s:[{s:[]}, {s:[]}], s:o, "
                     "s:{s:o, s:o}}",
                     "openapi", "3.1.0", "info", "title", "Socle", "version", SOCLE_VERSION,
                     "license", "name", "Apache-2.0", "identifier", "Apache-2.0", "servers", "url",
                     "/", "security", "token", "session", "paths", paths, "components", "schemas",
                     all_schemas(), "securitySchemes", logins());
}
