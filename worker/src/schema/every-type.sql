CREATE TABLE shop.`Orders` (
    Id bigint NOT NULL, a byte, b short, c integer, d long, e real, f DEC(5), g numeric, h varchar(10), i char(2), j binary,
    k boolean, m double, n date, o timestamp, p string, q tinyint, r smallint, s int, t float, u decimal(12, 3),
    l array<map<string, struct<X: int NOT NULL, y decimal(3, 1), Z: array<string>>>>
)
