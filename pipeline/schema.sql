-- What happens in a web shop, one JSON record an event. This is what `cargo local` sends, and what every row of
-- the Parquet looks like. A record that does not fit becomes a dead letter.
CREATE TABLE shop_events (
    event_id      STRING NOT NULL,
    event_type    STRING NOT NULL,
    event_time    TIMESTAMP NOT NULL,
    user_id       BIGINT NOT NULL,
    session_id    STRING,
    page          STRING,
    search        STRING,
    customer      STRUCT<
                      name: STRING,
                      email: STRING,
                      birthday: DATE,
                      vip: BOOLEAN,
                      address: STRUCT<street: STRING, city: STRING, postal_code: STRING, country: STRING>
                  >,
    items         ARRAY<STRUCT<sku: STRING, title: STRING, quantity: INT, price: DECIMAL(12, 2), gift: BOOLEAN>>,
    total         DECIMAL(14, 2),
    currency      STRING,
    payment       STRUCT<method: STRING, card_last4: STRING, attempts: SMALLINT, authorised_at: TIMESTAMP>,
    attributes    MAP<STRING, STRING>,
    tags          ARRAY<STRING>,
    is_mobile     BOOLEAN,
    loyalty_level TINYINT,
    discount_rate FLOAT,
    response_ms   DOUBLE
);
