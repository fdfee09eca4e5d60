/* The parameters of Snowplow's tracker protocol, and where each goes. */
#include <stdlib.h>
#include "collector/request/snowplow_internal.h"

/* In the order of the names: searched by halving. */
static const struct snowplow_row rows[] = {
    {"cd", PLACE_SNOWPLOW, "cd", FORM_NUMBER, HEAD_NONE},
    {"co", PLACE_HEAD, NULL, FORM_TEXT, HEAD_CO},
    {"cx", PLACE_HEAD, NULL, FORM_TEXT, HEAD_CX},
    {"dtm", PLACE_HEAD, NULL, FORM_TEXT, HEAD_DTM},
    {"duid", PLACE_HEAD, NULL, FORM_TEXT, HEAD_DUID},
    {"e", PLACE_HEAD, NULL, FORM_TEXT, HEAD_E},
    {"eid", PLACE_HEAD, NULL, FORM_TEXT, HEAD_EID},
    {"ip", PLACE_CONTEXT, "ip", FORM_TEXT, HEAD_NONE},
    {"lang", PLACE_CONTEXT, "locale", FORM_TEXT, HEAD_NONE},
    {"page", PLACE_PAGE, "title", FORM_TEXT, HEAD_NONE},
    {"pp_max", PLACE_PROPERTIES, "max_x", FORM_NUMBER, HEAD_NONE},
    {"pp_may", PLACE_PROPERTIES, "max_y", FORM_NUMBER, HEAD_NONE},
    {"pp_mix", PLACE_PROPERTIES, "min_x", FORM_NUMBER, HEAD_NONE},
    {"pp_miy", PLACE_PROPERTIES, "min_y", FORM_NUMBER, HEAD_NONE},
    {"refr", PLACE_PAGE, "referrer", FORM_TEXT, HEAD_NONE},
    {"res", PLACE_SCREEN, "width\0height", FORM_SIZE, HEAD_NONE},
    {"se_ac", PLACE_HEAD, NULL, FORM_TEXT, HEAD_ACTION},
    {"se_ca", PLACE_PROPERTIES, "category", FORM_TEXT, HEAD_NONE},
    {"se_la", PLACE_PROPERTIES, "label", FORM_TEXT, HEAD_NONE},
    {"se_pr", PLACE_PROPERTIES, "property", FORM_TEXT, HEAD_NONE},
    {"se_va", PLACE_PROPERTIES, "value", FORM_NUMBER, HEAD_NONE},
    {"stm", PLACE_HEAD, NULL, FORM_TEXT, HEAD_STM},
    {"ti_ca", PLACE_PROPERTIES, "category", FORM_TEXT, HEAD_NONE},
    {"ti_cu", PLACE_PROPERTIES, "currency", FORM_TEXT, HEAD_NONE},
    {"ti_id", PLACE_PROPERTIES, "order_id", FORM_TEXT, HEAD_NONE},
    {"ti_nm", PLACE_PROPERTIES, "name", FORM_TEXT, HEAD_NONE},
    {"ti_pr", PLACE_PROPERTIES, "price", FORM_NUMBER, HEAD_NONE},
    {"ti_qu", PLACE_PROPERTIES, "quantity", FORM_NUMBER, HEAD_NONE},
    {"ti_sk", PLACE_PROPERTIES, "sku", FORM_TEXT, HEAD_NONE},
    {"tr_af", PLACE_PROPERTIES, "affiliation", FORM_TEXT, HEAD_NONE},
    {"tr_ci", PLACE_PROPERTIES, "city", FORM_TEXT, HEAD_NONE},
    {"tr_co", PLACE_PROPERTIES, "country", FORM_TEXT, HEAD_NONE},
    {"tr_cu", PLACE_PROPERTIES, "currency", FORM_TEXT, HEAD_NONE},
    {"tr_id", PLACE_PROPERTIES, "order_id", FORM_TEXT, HEAD_NONE},
    {"tr_sh", PLACE_PROPERTIES, "shipping", FORM_NUMBER, HEAD_NONE},
    {"tr_st", PLACE_PROPERTIES, "state", FORM_TEXT, HEAD_NONE},
    {"tr_tt", PLACE_PROPERTIES, "total", FORM_NUMBER, HEAD_NONE},
    {"tr_tx", PLACE_PROPERTIES, "tax", FORM_NUMBER, HEAD_NONE},
    {"ttm", PLACE_HEAD, NULL, FORM_TEXT, HEAD_TTM},
    {"tz", PLACE_CONTEXT, "timezone", FORM_TEXT, HEAD_NONE},
    {"ua", PLACE_CONTEXT, "userAgent", FORM_TEXT, HEAD_NONE},
    {"ue_pr", PLACE_HEAD, NULL, FORM_TEXT, HEAD_UE_PR},
    {"ue_px", PLACE_HEAD, NULL, FORM_TEXT, HEAD_UE_PX},
    {"uid", PLACE_HEAD, NULL, FORM_TEXT, HEAD_UID},
    {"url", PLACE_PAGE, "url", FORM_TEXT, HEAD_NONE},
    {"vid", PLACE_SNOWPLOW, "vid", FORM_NUMBER, HEAD_NONE},
    {"vp", PLACE_SCREEN, "innerWidth\0innerHeight", FORM_SIZE, HEAD_NONE},
};

static int compare_name(const void *name, const void *row)
{
    return slice_compare(*(const struct slice *)name,
                         slice_text(((const struct snowplow_row *)row)->name));
}

const struct snowplow_row *snowplow_find_row(struct slice name)
{
    return bsearch(&name, rows, sizeof rows / sizeof *rows, sizeof *rows, compare_name);
}
