//! Parse: one `CREATE TABLE` statement into a [`TableSchema`], or every fault in it.
//!
//! sqlparser's tokenizer and token stream, with a grammar of our own on top: its AST keeps neither the place of a
//! nested type nor `NOT NULL` and `COMMENT` inside a struct, and its parser stops at the first fault.
//! Order: a fault of meaning (an unknown type) is noted and reading goes on; a fault of form skips to the column's
//! end. Neighbours: the schema's data types.

use std::collections::HashSet;
use std::sync::Arc;

use arrow_schema::Schema;
use sqlparser::dialect::SparkSqlDialect;
use sqlparser::keywords::Keyword;
use sqlparser::parser::Parser;
use sqlparser::tokenizer::{Location, Span, Token, TokenWithSpan, Tokenizer};

use super::{Column, DEPTH_MAX, FIELDS_MAX, Fault, METADATA_NAMES, SchemaError, SqlType, TableSchema};

const TYPES: &str = "string, varchar(n), char(n), boolean, tinyint, smallint, int, bigint, float, double, \
                     decimal(p, s), date, timestamp, binary, array<…>, map<string, …> and struct<…>";

/// Reads `schema.sql`.
///
/// Unquoted and backticked names keep their case. `IF NOT EXISTS`, `EXTERNAL`, comments and the statement's final
/// `;` are allowed and mean nothing here.
pub fn parse(sql: &str) -> Result<TableSchema, SchemaError> {
    let sql = sql.strip_prefix('\u{feff}').unwrap_or(sql);
    let dialect = SparkSqlDialect;
    let tokens = match Tokenizer::new(&dialect, sql).tokenize_with_location() {
        Ok(tokens) => tokens,
        Err(error) => {
            let Location { line, column } = error.location;
            let what = format!("this is no SQL: {}", error.message);
            return Err(SchemaError { faults: vec![Fault { line, column, what }] });
        }
    };
    let end = tokens.last().map_or(Location { line: 1, column: 1 }, |token| token.span.end);
    let parser = Parser::new(&dialect).with_tokens_with_locations(split_angles(tokens));
    let mut reader = Reader { parser, end, faults: Vec::new(), fields: 0, rounds: 0, angles: 0 };
    let table = reader.statement();
    let mut faults = reader.faults;
    match table {
        Some((name, columns)) if faults.is_empty() => {
            let arrow = Arc::new(Schema::new(columns.iter().map(Column::arrow).collect::<Vec<_>>()));
            Ok(TableSchema { name, columns, arrow })
        }
        _ => {
            faults.sort_by_key(|fault| (fault.line, fault.column));
            Err(SchemaError { faults })
        }
    }
}

/// `>>` closes two types here, and `<>` is an empty list of fields.
fn split_angles(tokens: Vec<TokenWithSpan>) -> Vec<TokenWithSpan> {
    let mut split = Vec::with_capacity(tokens.len());
    for token in tokens {
        let (first, second) = match token.token {
            Token::ShiftRight => (Token::Gt, Token::Gt),
            Token::Neq => (Token::Lt, Token::Gt),
            _ => {
                split.push(token);
                continue;
            }
        };
        let Span { start, end } = token.span;
        let middle = Location { line: start.line, column: start.column + 1 };
        split.push(TokenWithSpan::new(first, Span::new(start, middle)));
        split.push(TokenWithSpan::new(second, Span::new(middle, end)));
    }
    split
}

/// The rest of this column cannot be read; its fault is noted.
struct Unreadable;

/// A type, or `None` where it was read to its end but its meaning is a noted fault.
type Read<T> = Result<Option<T>, Unreadable>;

struct Reader<'a> {
    parser: Parser<'a>,
    end: Location,
    faults: Vec<Fault>,
    fields: usize,
    /// Parentheses and angle brackets open in the column that is being read.
    rounds: u32,
    angles: u32,
}

impl Reader<'_> {
    fn statement(&mut self) -> Option<(String, Vec<Column>)> {
        let table = self.table().ok().flatten();
        // After a fault of form the place of the statement's end is not known.
        if table.is_some() {
            self.after_table();
        }
        table
    }

    fn table(&mut self) -> Read<(String, Vec<Column>)> {
        self.word("CREATE", "write one statement: CREATE TABLE name (column type, …)")?;
        self.take_word("EXTERNAL");
        self.word("TABLE", "write one statement: CREATE TABLE name (column type, …)")?;
        if self.take_word("IF") {
            self.word("NOT", "write IF NOT EXISTS")?;
            self.word("EXISTS", "write IF NOT EXISTS")?;
        }
        let mut name = self.name("the table's name")?.0;
        while self.take(&Token::Period) {
            name.push('.');
            name.push_str(&self.name("the table's name")?.0);
        }
        let open = self.here();
        self.token(&Token::LParen, "the columns, in parentheses")?;
        let mut columns = Vec::new();
        let mut seen = HashSet::new();
        if self.take(&Token::RParen) {
            self.fault(open, "a table needs a column: (name type, …)".into());
            return Ok(Some((name, columns)));
        }
        loop {
            // Inside the table's own parentheses.
            (self.rounds, self.angles) = (0, 0);
            match self.column(&mut seen) {
                Ok(column) => columns.extend(column),
                Err(Unreadable) => self.skip_column(),
            }
            if self.take(&Token::Comma) {
                continue;
            }
            if self.take(&Token::RParen) {
                return Ok(Some((name, columns)));
            }
            if self.peek() == Token::EOF {
                self.expected("`)` after the last column");
                return Err(Unreadable);
            }
            self.expected("`,` or `)`; after a type only NOT NULL and COMMENT '…' stand");
            self.skip_column();
            if !self.take(&Token::Comma) {
                let closed = self.take(&Token::RParen);
                return if closed { Ok(Some((name, columns))) } else { Err(Unreadable) };
            }
        }
    }

    fn after_table(&mut self) {
        if self.take_word("COMMENT") && self.text("the table's comment").is_err() {
            return;
        }
        while self.take(&Token::SemiColon) {}
        match self.peek() {
            Token::EOF => {}
            Token::Word(word) if word.keyword == Keyword::CREATE => {
                self.fault_here(
                    "a second statement; one table is written to, so one statement stands here".into(),
                );
            }
            other => {
                self.fault_here(format!(
                    "unexpected `{other}`; only the columns stand here: partitions, location and format belong to \
                     pipeline.toml"
                ));
            }
        }
    }

    /// A column: name, type, then NOT NULL and COMMENT in any order.
    fn column(&mut self, seen: &mut HashSet<String>) -> Read<Column> {
        let place = self.here();
        let (name, _) = self.name("a column's name")?;
        self.check_name(place, &name, seen);
        let sql_type = self.sql_type(1)?;
        let (nullable, comment) = self.constraints()?;
        Ok(sql_type.map(|sql_type| Column { name, sql_type, nullable, comment }))
    }

    fn constraints(&mut self) -> Result<(bool, Option<String>), Unreadable> {
        let mut nullable = true;
        let mut comment = None;
        loop {
            if self.take_word("NOT") {
                self.word("NULL", "write NOT NULL")?;
                nullable = false;
            } else if self.take_word("COMMENT") {
                comment = Some(self.text("the comment")?);
            } else if !self.take_word("NULL") {
                return Ok((nullable, comment));
            }
        }
    }

    fn sql_type(&mut self, depth: usize) -> Read<SqlType> {
        let place = self.here();
        if depth > DEPTH_MAX {
            self.fault(place, format!("types nest deeper than {DEPTH_MAX}"));
            return Err(Unreadable);
        }
        self.fields += 1;
        if self.fields > FIELDS_MAX {
            if self.fields == FIELDS_MAX + 1 {
                self.fault(place, format!("a table has at most {FIELDS_MAX} columns and fields"));
            }
            return Err(Unreadable);
        }
        let (name, quoted) = self.name("a type")?;
        let lower = name.to_ascii_lowercase();
        let plain = match lower.as_str() {
            _ if quoted => None,
            "string" => Some(SqlType::String { max: None }),
            "boolean" => Some(SqlType::Boolean),
            "tinyint" | "byte" => Some(SqlType::TinyInt),
            "smallint" | "short" => Some(SqlType::SmallInt),
            "int" | "integer" => Some(SqlType::Int),
            "bigint" | "long" => Some(SqlType::BigInt),
            "float" | "real" => Some(SqlType::Float),
            "double" => Some(SqlType::Double),
            "date" => Some(SqlType::Date),
            "timestamp" => Some(SqlType::Timestamp),
            "binary" => Some(SqlType::Binary),
            "varchar" => return self.sized_string(place, "varchar", 65_535),
            "char" => return self.sized_string(place, "char", 255),
            "decimal" | "dec" | "numeric" => return self.decimal(place),
            "array" => return self.array(depth),
            "map" => return self.map(depth),
            "struct" => return self.structure(depth),
            _ => None,
        };
        let arguments = self.arguments()?;
        if plain.is_none() {
            let hint = instead(&lower).map(|other| format!("; write {other}")).unwrap_or_default();
            self.fault(place, format!("unknown type `{name}`{hint}; types are {TYPES}"));
            if self.peek() == Token::Lt {
                return Err(Unreadable);
            }
        } else if !arguments.is_empty() {
            self.fault(place, format!("`{lower}` takes no length or precision; write `{lower}`"));
            return Ok(None);
        }
        Ok(plain)
    }

    /// What stands in parentheses behind a type.
    fn arguments(&mut self) -> Result<Vec<String>, Unreadable> {
        let mut arguments = Vec::new();
        if !self.take(&Token::LParen) {
            return Ok(arguments);
        }
        loop {
            match self.peek() {
                Token::Number(text, false) => {
                    self.parser.next_token();
                    arguments.push(text);
                }
                _ => {
                    self.expected("a whole number");
                    return Err(Unreadable);
                }
            }
            if !self.take(&Token::Comma) {
                break;
            }
        }
        self.token(&Token::RParen, "`)`")?;
        Ok(arguments)
    }

    fn sized_string(&mut self, place: Location, name: &str, most: u32) -> Read<SqlType> {
        let arguments = self.arguments()?;
        let length = match arguments.as_slice() {
            [length] => length.parse().ok().filter(|length| (1..=most).contains(length)),
            _ => None,
        };
        if length.is_none() {
            self.fault(place, format!("write {name}(n) with n from 1 to {most}, or string for any length"));
        }
        Ok(length.map(|length| SqlType::String { max: Some(length) }))
    }

    fn decimal(&mut self, place: Location) -> Read<SqlType> {
        let arguments = self.arguments()?;
        // Spark's defaults; Athena has the same.
        let (precision, scale) = match arguments.as_slice() {
            [] => (Some(10), Some(0)),
            [precision] => (precision.parse().ok(), Some(0)),
            [precision, scale] => (precision.parse().ok(), scale.parse().ok()),
            _ => (None, None),
        };
        match (precision, scale) {
            (Some(precision @ 1..=38), Some(scale)) if scale <= precision => {
                Ok(Some(SqlType::Decimal { precision, scale }))
            }
            _ => {
                self.fault(place, "write decimal(p, s) with p from 1 to 38 and s from 0 to p".into());
                Ok(None)
            }
        }
    }

    fn array(&mut self, depth: usize) -> Read<SqlType> {
        self.token(&Token::Lt, "the element's type: array<int>")?;
        let element = self.sql_type(depth + 1)?;
        self.token(&Token::Gt, "`>` after the element's type")?;
        Ok(element.map(|element| SqlType::Array(Box::new(element))))
    }

    fn map(&mut self, depth: usize) -> Read<SqlType> {
        self.token(&Token::Lt, "the types of key and value: map<string, int>")?;
        let place = self.here();
        let key = self.sql_type(depth + 1)?;
        self.token(&Token::Comma, "`,` between the types of key and value")?;
        let value = self.sql_type(depth + 1)?;
        self.token(&Token::Gt, "`>` after the value's type")?;
        match (key, value) {
            (Some(SqlType::String { max }), Some(value)) => {
                Ok(Some(SqlType::Map { key_max: max, value: Box::new(value) }))
            }
            (Some(SqlType::String { .. }) | None, _) => Ok(None),
            (Some(_), _) => {
                self.fault(
                    place,
                    "a map's key must be a string, as JSON's keys are; write map<string, …>".into(),
                );
                Ok(None)
            }
        }
    }

    fn structure(&mut self, depth: usize) -> Read<SqlType> {
        let place = self.here();
        self.token(&Token::Lt, "the fields: struct<name: type, …>")?;
        if self.take(&Token::Gt) {
            self.fault(place, "a struct needs a field: struct<name: type, …>".into());
            return Ok(None);
        }
        let mut fields = Vec::new();
        let mut seen = HashSet::new();
        let mut whole = true;
        loop {
            let place = self.here();
            let (name, _) = self.name("a field's name")?;
            let _ = self.take(&Token::Colon);
            if !seen.insert(name.to_lowercase()) {
                self.duplicate(place, "field", &name);
                whole = false;
            }
            let sql_type = self.sql_type(depth + 1)?;
            let (nullable, comment) = self.constraints()?;
            match sql_type {
                Some(sql_type) => fields.push(Column { name, sql_type, nullable, comment }),
                None => whole = false,
            }
            if !self.take(&Token::Comma) {
                break;
            }
        }
        self.token(&Token::Gt, "`,` or `>` after a field")?;
        Ok(whole.then_some(SqlType::Struct(fields)))
    }

    fn check_name(&mut self, place: Location, name: &str, seen: &mut HashSet<String>) {
        let lower = name.to_lowercase();
        if METADATA_NAMES.contains(&lower.as_str()) {
            self.fault(
                place,
                format!(
                    "`{name}` is a column that Landfall adds itself (records.metadata); use another name"
                ),
            );
        }
        if !seen.insert(lower) {
            self.duplicate(place, "column", name);
        }
    }

    fn duplicate(&mut self, place: Location, kind: &str, name: &str) {
        self.fault(place, format!("a second {kind} `{name}`; names must differ in more than case"));
    }

    /// To the `,` or `)` that ends this column, out of the brackets that were open where reading stopped. (A bracket
    /// that is never closed takes the columns behind it along; they are read when it is mended.)
    fn skip_column(&mut self) {
        loop {
            match self.peek() {
                Token::EOF => return,
                Token::Comma if self.rounds == 0 && self.angles == 0 => return,
                Token::RParen if self.rounds == 0 => return,
                other => {
                    let _ = self.take(&other);
                }
            }
        }
    }

    /// Takes this token if it is next, and counts brackets.
    fn take(&mut self, token: &Token) -> bool {
        if !self.parser.consume_token(token) {
            return false;
        }
        match token {
            Token::LParen => self.rounds += 1,
            Token::RParen => self.rounds = self.rounds.saturating_sub(1),
            Token::Lt => self.angles += 1,
            Token::Gt => self.angles = self.angles.saturating_sub(1),
            _ => {}
        }
        true
    }

    fn peek(&self) -> Token {
        self.parser.peek_token_ref().token.clone()
    }

    fn here(&self) -> Location {
        let token = self.parser.peek_token_ref();
        if token.token == Token::EOF { self.end } else { token.span.start }
    }

    fn fault(&mut self, place: Location, what: String) {
        self.faults.push(Fault { line: place.line, column: place.column, what });
    }

    fn fault_here(&mut self, what: String) {
        self.fault(self.here(), what);
    }

    /// Notes that something else stands here.
    fn expected(&mut self, wanted: &str) {
        let found = match self.peek() {
            Token::EOF => "the statement's end".to_owned(),
            other => format!("`{other}`"),
        };
        self.fault_here(format!("found {found}; expected {wanted}"));
    }

    fn token(&mut self, token: &Token, wanted: &str) -> Result<(), Unreadable> {
        if self.take(token) {
            return Ok(());
        }
        self.expected(wanted);
        Err(Unreadable)
    }

    fn take_word(&mut self, word: &str) -> bool {
        let found = match &self.parser.peek_token_ref().token {
            Token::Word(found) => found.quote_style.is_none() && found.value.eq_ignore_ascii_case(word),
            _ => false,
        };
        if found {
            self.parser.next_token();
        }
        found
    }

    fn word(&mut self, word: &str, wanted: &str) -> Result<(), Unreadable> {
        if self.take_word(word) {
            return Ok(());
        }
        self.expected(wanted);
        Err(Unreadable)
    }

    /// A name, and whether it stood in backticks.
    fn name(&mut self, wanted: &str) -> Result<(String, bool), Unreadable> {
        match self.peek() {
            Token::Word(word) if !word.value.is_empty() => {
                self.parser.next_token();
                Ok((word.value, word.quote_style.is_some()))
            }
            _ => {
                self.expected(&format!("{wanted} (in `backticks` if it is no plain word)"));
                Err(Unreadable)
            }
        }
    }

    fn text(&mut self, wanted: &str) -> Result<String, Unreadable> {
        match self.peek() {
            Token::SingleQuotedString(text) | Token::DoubleQuotedString(text) => {
                self.parser.next_token();
                Ok(text)
            }
            _ => {
                self.expected(&format!("{wanted} in 'quotes'"));
                Err(Unreadable)
            }
        }
    }
}

/// What someone who writes `text` means.
fn instead(name: &str) -> Option<&'static str> {
    Some(match name {
        "text" | "uuid" | "json" | "jsonb" | "clob" | "nvarchar" | "character" | "variant" => "string",
        "bool" => "boolean",
        "int8" | "i8" => "tinyint",
        "int16" | "i16" => "smallint",
        "int32" | "i32" => "int",
        "int64" | "i64" | "uint32" => "bigint",
        "uint64" | "hugeint" => "decimal(20, 0)",
        "float32" | "f32" => "float",
        "float64" | "f64" | "number" => "double",
        "datetime" | "timestamptz" | "timestamp_ntz" | "timestamp_ltz" | "time" => "timestamp",
        "bytes" | "bytea" | "blob" | "varbinary" => "binary",
        "list" => "array<…>",
        "row" | "record" | "object" => "struct<…>",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use arrow_schema::DataType;

    use super::*;
    use crate::schema::{headers_type, timestamp_type};

    fn columns(sql: &str) -> Vec<Column> {
        parse(sql).expect("the test's schema is right").columns
    }

    fn one(sql_type: &str) -> SqlType {
        columns(&format!("CREATE TABLE t (a {sql_type})")).remove(0).sql_type
    }

    fn faults(sql: &str) -> Vec<String> {
        parse(sql).expect_err("the test's schema is wrong").faults.iter().map(Fault::to_string).collect()
    }

    #[test]
    fn every_type_has_its_arrow_type() {
        for (sql, arrow) in [
            ("string", DataType::Utf8),
            ("STRING", DataType::Utf8),
            ("varchar(20)", DataType::Utf8),
            ("char(3)", DataType::Utf8),
            ("boolean", DataType::Boolean),
            ("tinyint", DataType::Int8),
            ("smallint", DataType::Int16),
            ("int", DataType::Int32),
            ("Integer", DataType::Int32),
            ("bigint", DataType::Int64),
            ("long", DataType::Int64),
            ("float", DataType::Float32),
            ("real", DataType::Float32),
            ("double", DataType::Float64),
            ("decimal(38,38)", DataType::Decimal128(38, 38)),
            ("decimal(12, 2)", DataType::Decimal128(12, 2)),
            ("decimal(5)", DataType::Decimal128(5, 0)),
            ("decimal", DataType::Decimal128(10, 0)),
            ("date", DataType::Date32),
            ("timestamp", timestamp_type()),
            ("binary", DataType::Binary),
        ] {
            assert_eq!(one(sql).arrow(), arrow, "{sql}");
        }
        assert_eq!(
            one("array<array<int>>").arrow().to_string(),
            "List(List(Int32, field: 'element'), field: 'element')"
        );
        assert!(matches!(headers_type(), DataType::List(_)));
    }

    #[test]
    fn structs_nest_with_colons_or_spaces_and_keep_not_null_and_comments() {
        let with_colons = one(
            "struct<id: bigint NOT NULL COMMENT 'the shop''s id', `x y`:map<string,array<struct<n:int>>>, to int>",
        );
        let SqlType::Struct(fields) = &with_colons else { panic!("{with_colons:?}") };
        assert_eq!(fields[0].name, "id");
        assert!(!fields[0].nullable);
        assert_eq!(fields[0].comment.as_deref(), Some("the shop's id"));
        assert_eq!(fields[1].name, "x y");
        let SqlType::Map { value, .. } = &fields[1].sql_type else { panic!("{fields:?}") };
        assert!(matches!(&**value, SqlType::Array(inner) if matches!(&**inner, SqlType::Struct(_))));
        assert!(fields[2].nullable);
        let with_spaces = one(
            "STRUCT<id bigint COMMENT 'the shop''s id' NOT NULL, `x y` MAP<STRING,ARRAY<STRUCT<n INT>>>, to int>",
        );
        assert_eq!(with_colons, with_spaces);
    }

    #[test]
    fn the_statement_may_be_dressed_as_spark_and_athena_do() {
        let table = parse(
            "\u{feff}-- orders\nCREATE EXTERNAL TABLE IF NOT EXISTS shop.`Orders` ( /* key */
               `Order` string NOT NULL COMMENT 'a word of SQL', timestamp timestamp, date date NULL
             ) COMMENT 'all orders';",
        )
        .expect("right");
        assert_eq!(table.name, "shop.Orders");
        let names: Vec<&str> = table.columns.iter().map(|column| column.name.as_str()).collect();
        assert_eq!(names, ["Order", "timestamp", "date"]);
        assert!(!table.arrow.field(0).is_nullable());
        assert!(table.arrow.field(2).is_nullable());
    }

    #[test]
    fn every_fault_is_told_at_once_with_its_place() {
        let found = faults(
            "CREATE TABLE t (
  a text,
  b decimal(39, 2),
  c struct<x: nope, y: map<int, string>, x: int, z: decimal(3, 4)>,
  A int,
  _Offset bigint,
  d varchar,
  e char(256),
  f int(11),
  g struct<a: 5, b: int>,
  h array<int DEFAULT 3>,
  i int PRIMARY KEY,
  j foo(1, 2) NOT NULL,
  k struct<>,
)",
        );
        let places: Vec<&str> =
            found.iter().map(|fault| fault.split(": ").next().expect("a place")).collect();
        assert_eq!(
            places,
            [
                "2:5", "3:5", "4:15", "4:28", "4:42", "4:53", "5:3", "6:3", "7:5", "8:5", "9:5", "10:15",
                "11:15", "12:9", "13:5", "14:11", "15:1"
            ],
            "{found:#?}"
        );
        assert!(found[0].contains("unknown type `text`; write string;"), "{}", found[0]);
        assert!(found[6].contains("a second column `A`"), "{}", found[6]);
        assert!(found[7].contains("Landfall adds itself"), "{}", found[7]);
    }

    #[test]
    fn what_is_no_single_create_table_is_refused() {
        for (sql, wanted) in [
            ("", "1:1: found the statement's end"),
            ("  \n ", "expected write one statement"),
            ("SELECT 1", "1:1: found `SELECT`"),
            ("CREATE TABLE t", "expected the columns"),
            ("CREATE TABLE t ()", "a table needs a column"),
            ("CREATE TABLE (a int)", "expected the table's name"),
            ("CREATE TABLE t (a int", "expected `)` after the last column"),
            ("CREATE TABLE t (a array<int)", "expected `>`"),
            ("CREATE TABLE t (a int) CREATE TABLE u (a int)", "a second statement"),
            ("CREATE TABLE t (a int); CREATE TABLE u (a int);", "a second statement"),
            ("CREATE TABLE t (a int) PARTITIONED BY (dt string)", "belong to pipeline.toml"),
            ("CREATE TABLE t (a int) LOCATION 's3://x'", "belong to pipeline.toml"),
            ("CREATE TABLE t (a int, b)", "expected a type"),
            ("CREATE TABLE t (a 'int')", "expected a type"),
            ("CREATE TABLE t (a `int`)", "unknown type `int`"),
            ("CREATE TABLE t (a int COMMENT 'open)", "this is no SQL"),
            ("CREATE TABLE t (a int /* open", "this is no SQL"),
        ] {
            let found = faults(sql).join("\n");
            assert!(found.contains(wanted), "{sql}: {found}");
        }
    }

    #[test]
    fn nesting_and_width_are_bounded() {
        let nested = |depth: usize| format!("{}int{}", "array<".repeat(depth - 1), ">".repeat(depth - 1));
        assert!(matches!(one(&nested(DEPTH_MAX)), SqlType::Array(_)));
        for depth in [DEPTH_MAX + 1, 100_000] {
            let found = faults(&format!("CREATE TABLE t (a {}, b nope)", nested(depth)));
            assert_eq!(found.len(), 2, "{found:?}");
            assert!(found[0].contains("nest deeper than 32"), "{found:?}");
        }
        let wide: Vec<String> = (0..=FIELDS_MAX).map(|index| format!("c{index} int")).collect();
        let found = faults(&format!("CREATE TABLE t ({})", wide.join(", ")));
        assert_eq!(found.len(), 1);
        assert!(found[0].contains("at most 10000"), "{found:?}");
    }

    proptest::proptest! {
        #[test]
        fn no_text_makes_the_parser_panic_and_every_refusal_has_a_fault(
            words in proptest::collection::vec(proptest::sample::select(vec![
                "CREATE", "TABLE", "t", "(", ")", "<", ">", ">>", "<>", ",", ":", "a", "int", "array", "map", "struct",
                "decimal", "NOT", "NULL", "COMMENT", "'x'", "1", "39", ";", ".", "`q`", "-- c\n", "string", "é", "::",
            ]), 0..40),
            headed in proptest::bool::ANY,
        ) {
            let sql = format!("{}{}", if headed { "CREATE TABLE t (a " } else { "" }, words.join(" "));
            if let Err(error) = parse(&sql) {
                proptest::prop_assert!(!error.faults.is_empty(), "{}", sql);
            }
        }
    }
}
