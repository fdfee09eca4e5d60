/* What Snowplow's trackers send: many events by POST, or one by GET, answered with a picture.
 *
 * Whatever an event is like, the answer is 200: another would keep it in the tracker's queue for
 * ever, and all behind it. */
#include "collector/api/api_internal.h"
#include "collector/request/snowplow.h"

enum { USER_AGENT_BYTES_MAX = 1024 };

/* A transparent GIF of one pixel. */
static const uint8_t pixel[] = {
    'G', 'I', 'F', '8', '9', 'a',  1, 0, 1, 0, 0x80, 0, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0x21, 0xf9, 4,
    1,   0,   0,   0,   0,   0x2c, 0, 0, 0, 0, 1,    0, 1, 0, 0, 2, 2,    0x44, 1,    0,    0x3b,
};

/* A server's own user agent says nothing about the visitor. */
static struct slice user_agent(const struct http_request *http)
{
    struct slice agent = http_header(http, "User-Agent");
    bool is_visitors =
        agent.len <= USER_AGENT_BYTES_MAX && visit_is_browser(http, API_SNOWPLOW_COOKIE);
    return is_visitors ? agent : slice_make(NULL, 0);
}

/* The visitor wants to stay anonymous: no cookie is set or read. */
static bool is_anonymous(const struct http_request *http)
{
    return http_header(http, "SP-Anonymous").len > 0;
}

void api_post_snowplow(struct api *api, struct http_request *http)
{
    static const char answer[] = "ok";
    const struct api_protocol protocol = {
        .cookie_name = API_SNOWPLOW_COOKIE,
        .body = slice_text(answer),
        .content_type = "text/plain",
        .is_lenient = true,
    };
    struct scratch *s = api_take_scratch(api);
    snowplow_parse(&s->request, http_body(http), user_agent(http), &rand_secure);
    api_take_request(api, http, s, &protocol, !is_anonymous(http));
    api_give_scratch(api, s);
}

struct query {
    size_t count; /* may be over the maximum: the event is then refused */
    struct snowplow_parameter parameters[SNOWPLOW_PARAMETERS_MAX];
};

static void on_parameter(void *user, struct slice name, struct slice value)
{
    struct query *query = user;
    if (query->count < SNOWPLOW_PARAMETERS_MAX) {
        query->parameters[query->count] = (struct snowplow_parameter){name, value};
    }
    query->count++;
}

void api_get_snowplow(struct api *api, struct http_request *http)
{
    const struct api_protocol protocol = {
        .cookie_name = API_SNOWPLOW_COOKIE,
        .body = slice_make(pixel, sizeof pixel),
        .content_type = "image/gif",
        .is_lenient = true,
    };
    struct query query;
    struct scratch *s = api_take_scratch(api);
    query.count = 0;
    http_each_query(http, on_parameter, &query);
    snowplow_parse_query(&s->request, query.parameters, query.count, user_agent(http),
                         &rand_secure);
    http_add_header(http, "Cache-Control", slice_text("no-store"));
    api_take_request(api, http, s, &protocol, !is_anonymous(http));
    api_give_scratch(api, s);
}
