//! Text: JSON's grammar (RFC 8259) over one record, a token at a time, without copying and without a tree.
//!
//! Order: what a token is, is known before the cursor moves behind it; where the text stops being JSON, the cursor
//! stays. What is skipped is checked as strictly as what is read, but for one thing: a skipped string may hold half
//! a surrogate pair, because nothing is made of it.
//! Neighbours: json drives it. Knows no columns.

/// How deep arrays and objects may nest in a record, in ignored keys too.
///
/// Twice what a schema may nest, and as many as the bits that [`Text::skip`] remembers its way by.
pub const DEPTH_MAX: usize = 64;

/// The text is not JSON; what would be right where the cursor stands.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct NotJson(pub(super) &'static str);

/// A record and a place in it.
pub(super) struct Text<'a> {
    text: &'a str,
    at: usize,
}

/// What stands between two quotes.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Quoted<'a> {
    /// As it was written; every escape in it is well formed.
    pub(super) raw: &'a str,
    /// Whether there are any.
    pub(super) escaped: bool,
}

/// A number, taken apart.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Number<'a> {
    pub(super) text: &'a str,
    negative: bool,
    /// Neither fraction nor exponent.
    whole: bool,
    /// All digits, point left out; none when there are more than 64 bits hold for certain.
    digits: Option<u64>,
    /// `digits` × 10 to this.
    exponent: i64,
}

impl<'a> Text<'a> {
    pub(super) fn new(text: &'a str) -> Self {
        Text { text, at: 0 }
    }

    pub(super) fn at(&self) -> usize {
        self.at
    }

    /// What is left.
    #[inline]
    pub(super) fn rest(&self) -> &'a [u8] {
        self.bytes().get(self.at..).unwrap_or_default()
    }

    /// Moves on by bytes that the caller has looked at.
    #[inline]
    pub(super) fn step(&mut self, bytes: usize) {
        self.at += bytes;
    }

    #[inline]
    fn bytes(&self) -> &'a [u8] {
        self.text.as_bytes()
    }

    /// The byte here; 0, which begins no token, at the end.
    #[inline]
    fn byte(&self) -> u8 {
        self.bytes().get(self.at).copied().unwrap_or(0)
    }

    /// Where the next token begins, and its first byte; 0 at the end.
    #[inline]
    pub(super) fn token(&mut self) -> u8 {
        while let b' ' | b'\t' | b'\r' | b'\n' = self.byte() {
            self.at += 1;
        }
        self.byte()
    }

    /// Takes this one byte as the next token.
    #[inline]
    pub(super) fn take(&mut self, token: u8, expected: &'static str) -> Result<(), NotJson> {
        if self.token() != token {
            return Err(NotJson(expected));
        }
        self.at += 1;
        Ok(())
    }

    /// Nothing but white space is left.
    pub(super) fn end(&mut self) -> Result<(), NotJson> {
        self.token();
        if self.at < self.text.len() { Err(NotJson("the end behind the object")) } else { Ok(()) }
    }

    /// Takes `true`, `false` or `null`.
    #[inline]
    pub(super) fn word(&mut self, word: &'static str) -> Result<(), NotJson> {
        if !self.rest().starts_with(word.as_bytes()) {
            return Err(NotJson("a value"));
        }
        self.at += word.len();
        Ok(())
    }

    /// Takes a string; the cursor stands on its opening quote.
    #[inline]
    pub(super) fn string(&mut self) -> Result<Quoted<'a>, NotJson> {
        let start = self.at + 1;
        let end = plain_end(self.bytes(), start);
        if self.bytes().get(end) == Some(&b'"') {
            self.at = end + 1;
            return Ok(Quoted { raw: &self.text[start..end], escaped: false });
        }
        self.rest_of_string(start, end)
    }

    /// The string from `start` on; all before `at` is plain.
    fn rest_of_string(&mut self, start: usize, mut at: usize) -> Result<Quoted<'a>, NotJson> {
        loop {
            match self.bytes().get(at..).unwrap_or_default() {
                [b'"', ..] => {
                    self.at = at + 1;
                    return Ok(Quoted { raw: &self.text[start..at], escaped: true });
                }
                [b'\\', b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't', ..] => at += 2,
                [b'\\', b'u', a, b, c, d, ..]
                    if [a, b, c, d].iter().all(|digit| digit.is_ascii_hexdigit()) =>
                {
                    at += 6;
                }
                [b'\\', ..] => return self.stop(at, "an escape as JSON knows it"),
                [_, ..] => return self.stop(at, "no control character in a string"),
                [] => return self.stop(at, "the end of a string"),
            }
            at = plain_end(self.bytes(), at);
        }
    }

    #[cold]
    fn stop<T>(&mut self, at: usize, expected: &'static str) -> Result<T, NotJson> {
        self.at = at;
        Err(NotJson(expected))
    }

    /// Takes a number; the cursor stands on its first byte.
    #[inline]
    pub(super) fn number(&mut self) -> Result<Number<'a>, NotJson> {
        /// So many decimal digits always fit 64 bits.
        const DIGITS_MAX: usize = 19;
        const DIGIT: &str = "a digit";
        let bytes = self.bytes();
        let start = self.at;
        let negative = self.byte() == b'-';
        let mut at = start + usize::from(negative);
        let mut digits = 0u64;
        let mut run = |at: &mut usize| {
            let first = *at;
            while let Some(digit) =
                bytes.get(*at).map(|byte| byte.wrapping_sub(b'0')).filter(|&digit| digit < 10)
            {
                digits = digits.wrapping_mul(10).wrapping_add(u64::from(digit));
                *at += 1;
            }
            *at - first
        };
        let first = at;
        let mut count = run(&mut at);
        if count == 0 {
            return self.stop(at, DIGIT);
        }
        if count > 1 && bytes[first] == b'0' {
            return self.stop(first + 1, "no digit behind a leading 0");
        }
        let mut number = Number { text: "", negative, whole: true, digits: None, exponent: 0 };
        if bytes.get(at) == Some(&b'.') {
            at += 1;
            let fraction = run(&mut at);
            if fraction == 0 {
                return self.stop(at, DIGIT);
            }
            count += fraction;
            number.whole = false;
            number.exponent = -(fraction as i64);
        }
        number.digits = (count <= DIGITS_MAX).then_some(digits);
        if let Some(b'e' | b'E') = bytes.get(at) {
            let (end, exponent) = exponent(bytes, at + 1);
            at = end;
            let Some(exponent) = exponent else { return self.stop(at, DIGIT) };
            number.whole = false;
            number.exponent += exponent;
        }
        number.text = &self.text[start..at];
        self.at = at;
        Ok(number)
    }

    /// Takes a key that nobody wants, and the colon behind it.
    fn skip_key(&mut self) -> Result<(), NotJson> {
        if self.token() != b'"' {
            return Err(NotJson("a key"));
        }
        self.string()?;
        self.take(b':', "`:`")
    }

    /// Takes any value. `depth` arrays and objects are open around it.
    pub(super) fn skip(&mut self, depth: usize) -> Result<(), NotJson> {
        // The way back up, a bit a level: 1 for an object. It has room for `DEPTH_MAX`.
        let (mut objects, mut open) = (0u64, 0);
        loop {
            match self.token() {
                b'"' => _ = self.string()?,
                b'-' | b'0'..=b'9' => _ = self.number()?,
                b't' => self.word("true")?,
                b'f' => self.word("false")?,
                b'n' => self.word("null")?,
                opening @ (b'{' | b'[') => {
                    if depth + open >= DEPTH_MAX {
                        return Err(NotJson("no deeper nesting"));
                    }
                    self.at += 1;
                    let object = opening == b'{';
                    if self.token() == if object { b'}' } else { b']' } {
                        self.at += 1;
                    } else {
                        open += 1;
                        objects = objects << 1 | u64::from(object);
                        if object {
                            self.skip_key()?;
                        }
                        continue;
                    }
                }
                _ => return Err(NotJson("a value")),
            }
            // A value has ended, and with it whatever ends here.
            loop {
                if open == 0 {
                    return Ok(());
                }
                let in_object = objects & 1 == 1;
                match self.token() {
                    b',' => {
                        self.at += 1;
                        if in_object {
                            self.skip_key()?;
                        }
                        break;
                    }
                    b'}' if in_object => {}
                    b']' if !in_object => {}
                    _ => return Err(NotJson(if in_object { "`,` or `}`" } else { "`,` or `]`" })),
                }
                self.at += 1;
                open -= 1;
                objects >>= 1;
            }
        }
    }
}

impl Quoted<'_> {
    /// Appends what the text means, escapes resolved. After an error `out` may have grown.
    pub(super) fn unescape(&self, out: &mut Vec<u8>) -> Result<(), NotJson> {
        let mut rest = self.raw;
        while let Some(at) = memchr::memchr(b'\\', rest.as_bytes()) {
            out.extend_from_slice(&rest.as_bytes()[..at]);
            let (meant, length) = escape(&rest.as_bytes()[at..])?;
            out.extend_from_slice(meant.encode_utf8(&mut [0; 4]).as_bytes());
            rest = &rest[at + length..];
        }
        out.extend_from_slice(rest.as_bytes());
        Ok(())
    }
}

/// The character that a well-formed escape means, and how many bytes say so.
fn escape(text: &[u8]) -> Result<(char, usize), NotJson> {
    const HALF: NotJson = NotJson("both halves of a surrogate pair");
    let unit = |at: usize| {
        let digits = text.get(at + 2..at + 6)?;
        let digits = digits.iter().map(|digit| char::from(*digit).to_digit(16));
        (text[at..].starts_with(b"\\u")).then(|| digits.fold(0, |unit, digit| unit << 4 | digit.unwrap_or(0)))
    };
    let plain = match text.get(1) {
        Some(b'b') => '\u{8}',
        Some(b'f') => '\u{c}',
        Some(b'n') => '\n',
        Some(b'r') => '\r',
        Some(b't') => '\t',
        Some(b'u') => {
            return match (unit(0), unit(6)) {
                (Some(high @ 0xD800..=0xDBFF), Some(low @ 0xDC00..=0xDFFF)) => {
                    let code = 0x1_0000 + ((high - 0xD800) << 10) + (low - 0xDC00);
                    Ok((char::from_u32(code).ok_or(HALF)?, 12))
                }
                (Some(code), _) => Ok((char::from_u32(code).ok_or(HALF)?, 6)),
                (None, _) => Err(NotJson("an escape as JSON knows it")),
            };
        }
        Some(same) => char::from(*same),
        None => return Err(NotJson("an escape as JSON knows it")),
    };
    Ok((plain, 2))
}

/// `[±]digits` from `at` on: where it ends, and its value, held within what no number reaches; none without digits.
fn exponent(bytes: &[u8], mut at: usize) -> (usize, Option<i64>) {
    const BEYOND: i64 = 1 << 40;
    let negative = bytes.get(at) == Some(&b'-');
    if let Some(b'-' | b'+') = bytes.get(at) {
        at += 1;
    }
    let first = at;
    let mut size = 0i64;
    while let Some(digit @ b'0'..=b'9') = bytes.get(at) {
        size = (size * 10 + i64::from(digit - b'0')).min(BEYOND);
        at += 1;
    }
    (at, (at > first).then_some(if negative { -size } else { size }))
}

/// What a number is as a whole one.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Whole {
    Is(i64),
    /// Whole, but beyond 64 bits.
    Beyond,
    /// Written with a fraction or an exponent, or as `-0`.
    Not,
}

/// Powers of ten that a double holds exactly.
const EXACT_POWERS: [f64; 23] = [
    1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18,
    1e19, 1e20, 1e21, 1e22,
];

impl Number<'_> {
    #[inline]
    pub(super) fn whole(&self) -> Whole {
        match (self.whole, self.digits) {
            (false, _) => Whole::Not,
            (true, Some(0)) if self.negative => Whole::Not,
            (true, Some(size)) if self.negative => {
                0i64.checked_sub_unsigned(size).map_or(Whole::Beyond, Whole::Is)
            }
            (true, Some(size)) => i64::try_from(size).map_or(Whole::Beyond, Whole::Is),
            (true, None) => Whole::Beyond,
        }
    }

    /// The nearest double; infinite where there is none.
    #[inline]
    pub(super) fn double(&self) -> f64 {
        let power = EXACT_POWERS.get(self.exponent.unsigned_abs() as usize);
        // Both exact, so that only one operation rounds. Source: Clinger, "How to read floating point numbers
        // accurately", 1990.
        if let (Some(digits @ 0..=0x20_0000_0000_0000), Some(power)) = (self.digits, power) {
            let size = if self.exponent < 0 { digits as f64 / power } else { digits as f64 * power };
            return if self.negative { -size } else { size };
        }
        self.text.parse().expect("what is a number in JSON is one in Rust")
    }

    /// The nearest float; infinite where there is none. From the text itself: a double in between would round twice.
    pub(super) fn float(&self) -> f32 {
        self.text.parse().expect("what is a number in JSON is one in Rust")
    }
}

/// The first place from `at` on that does not simply go on a string: a quote, a backslash, a control character or the
/// end.
#[inline]
fn plain_end(bytes: &[u8], mut at: usize) -> usize {
    // Eight at a time, which no call to a library beats for texts as short as these.
    while let Some(eight) = bytes.get(at..).and_then(|rest| rest.first_chunk()) {
        let found = special_bytes(u64::from_le_bytes(*eight));
        if found != 0 {
            return at + found.trailing_zeros() as usize / 8;
        }
        at += 8;
    }
    while bytes.get(at).is_some_and(|&byte| byte >= 0x20 && byte != b'"' && byte != b'\\') {
        at += 1;
    }
    at
}

/// The highest bit of the lowest byte that is a quote, a backslash or below 0x20 (of higher ones it may be wrong); 0
/// when there is none. Source: "Bit Twiddling Hacks", S. E. Anderson, `hasless` and `haszero`.
#[inline]
fn special_bytes(eight: u64) -> u64 {
    const ONES: u64 = 0x0101_0101_0101_0101;
    const HIGH: u64 = 0x8080_8080_8080_8080;
    let zero = |bytes: u64| bytes.wrapping_sub(ONES) & !bytes;
    let control = eight.wrapping_sub(ONES * 0x20) & !eight;
    (zero(eight ^ (ONES * 0x22)) | zero(eight ^ (ONES * 0x5C)) | control) & HIGH
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::Value;

    use super::*;

    /// The whole of a text as one value that is skipped, at this depth.
    fn skips(json: &str, depth: usize) -> bool {
        let mut text = Text::new(json);
        text.skip(depth).and_then(|()| text.end()).is_ok()
    }

    fn a_number(json: &str) -> Option<Number<'_>> {
        let mut text = Text::new(json);
        let number = text.number().ok()?;
        text.end().ok().map(|()| number)
    }

    /// A string that is the whole text, and what it means.
    fn a_string(json: &str) -> Option<String> {
        let mut text = Text::new(json);
        if text.token() != b'"' {
            return None;
        }
        let quoted = text.string().ok()?;
        text.end().ok()?;
        let mut meant = Vec::new();
        quoted.unescape(&mut meant).ok()?;
        assert!(quoted.escaped || meant == quoted.raw.as_bytes());
        Some(String::from_utf8(meant).unwrap())
    }

    #[test]
    fn the_end_of_a_plain_text_is_found_at_every_distance_and_for_every_byte() {
        for distance in 0..40 {
            for special in 0..=255u8 {
                for behind in [0, 1, 7, 20] {
                    let mut bytes = vec![b'a'; distance];
                    bytes.push(special);
                    bytes.extend(vec![b'"'; behind]);
                    let ends = special < 0x20 || special == b'"' || special == b'\\';
                    assert_eq!(
                        plain_end(&bytes, 0),
                        distance + usize::from(!ends),
                        "{special} at {distance}"
                    );
                }
            }
        }
        // Bytes above the first that is found may be told wrongly, never the first.
        assert_eq!(plain_end(b"\x20\x21\x23\x5b\x5d\x7f\x80\xff\"", 0), 8);
        assert_eq!(plain_end(b"abcd\"#\"#", 0), 4);
    }

    #[test]
    fn numbers_are_taken_apart_exactly() {
        for (json, wanted) in [
            ("0", Whole::Is(0)),
            ("-0", Whole::Not),
            ("-1", Whole::Is(-1)),
            ("9223372036854775807", Whole::Is(i64::MAX)),
            ("9223372036854775808", Whole::Beyond),
            ("-9223372036854775808", Whole::Is(i64::MIN)),
            ("-9223372036854775809", Whole::Beyond),
            ("99999999999999999999", Whole::Beyond),
            ("1.0", Whole::Not),
            ("1e0", Whole::Not),
        ] {
            assert_eq!(a_number(json).map(|number| number.whole()), Some(wanted), "{json}");
        }
        for json in
            ["", "-", "01", "-01", "1.", ".5", "+1", "1e", "1e+", "1E-", "0x1", "1_0", "- 1", "1.e1", "--1"]
        {
            assert_eq!(a_number(json), None, "{json}");
        }
        for json in [
            "-0",
            "-0.0",
            "0e5",
            "9007199254740993",
            "9007199254740992e22",
            "9007199254740991e-22",
            "1e23",
            "1e-23",
            "123456789012345678901234567890",
            "0.00000000000000000000000001",
            "5e-324",
            "2e-324",
            "1.7976931348623157e308",
            "179769313486231580793e289",
            "1e99999999999999999999",
            "1e-99999999999999999999",
        ] {
            let (ours, wanted) = (a_number(json).unwrap().double(), json.parse::<f64>().unwrap());
            assert_eq!(ours.to_bits(), wanted.to_bits(), "{json}");
        }
    }

    #[test]
    fn what_is_skipped_nests_so_deep_and_no_deeper() {
        for depth in [0, 1, 40, DEPTH_MAX] {
            for (open, close) in [("[", "]"), ("{\"x\":", "}"), ("{\"x\":[", "]}")] {
                let levels = (DEPTH_MAX - depth) / open.matches(['[', '{']).count();
                let nested = |levels| format!("{}1{}", open.repeat(levels), close.repeat(levels));
                assert!(skips(&nested(levels), depth), "{open} at {depth}");
                assert!(!skips(&nested(levels + 1), depth), "{open} at {depth}");
            }
            assert_eq!(skips("[]", depth), depth < DEPTH_MAX);
            assert_eq!(skips("{}", depth), depth < DEPTH_MAX);
        }
    }

    #[test]
    fn strings_mean_what_their_escapes_say() {
        for (json, wanted) in [
            (r#""""#, Some("")),
            (r#""\"\\\/\b\f\n\r\t""#, Some("\"\\/\u{8}\u{c}\n\r\t")),
            (r#""\u00e9\u20AC\ud83d\ude00!""#, Some("é€😀!")),
            (r#""\ud83d""#, None),
            (r#""\ud83d\u0041""#, None),
            (r#""\ude00\ud83d""#, None),
            (r#""\ud83d\""#, None),
            (r#""\u12g4""#, None),
            (r#""\x""#, None),
            ("\"a\u{1f}\"", None),
            ("\"a\u{7f}\"", Some("a\u{7f}")),
            (r#""a"#, None),
        ] {
            assert_eq!(a_string(json).as_deref(), wanted, "{json}");
        }
    }

    /// Pieces of JSON, put together anyhow.
    fn pieces() -> impl Strategy<Value = String> {
        let piece = prop::sample::select(vec![
            "{",
            "}",
            "[",
            "]",
            ",",
            ":",
            " ",
            "\n",
            "\"",
            "\"a\"",
            "\"a\":",
            "\"\\n\"",
            "\\",
            "\\u00e9",
            "\\ud83d",
            "0",
            "1",
            "-",
            ".5",
            "e9",
            "E-2",
            "1.5",
            "true",
            "false",
            "null",
            "nul",
            "é",
            "\t",
            "\u{1}",
            "[1,2]",
            "{\"b\":[]}",
        ]);
        prop::collection::vec(piece, 0..12).prop_map(|pieces| pieces.concat())
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 4_000, ..ProptestConfig::default() })]

        #[test]
        fn what_is_skipped_is_json_as_serde_json_knows_it(json in pieces()) {
            let wanted = serde_json::from_str::<serde::de::IgnoredAny>(&json).is_ok();
            prop_assert_eq!(skips(&json, 0), wanted, "{}", json);
        }

        #[test]
        fn json_is_skipped_however_it_nests(seed in any::<u64>(), cut in any::<prop::sample::Index>()) {
            let json = nested(&mut { seed }, 6).to_string();
            prop_assert!(skips(&json, 0), "{}", json);
            let cut = (0..=cut.index(json.len())).rev().find(|&at| json.is_char_boundary(at)).unwrap_or(0);
            let wanted = serde_json::from_str::<serde::de::IgnoredAny>(&json[..cut]).is_ok();
            prop_assert_eq!(skips(&json[..cut], 0), wanted, "{}", &json[..cut]);
        }

        #[test]
        fn strings_are_what_serde_json_reads(json in "\"(a{0,9}|\\\\[\"\\\\/bfnrtu]|u?[0-9a-fD]{4}|\\\\ud83d|\\\\ude00|é|\\PC){0,9}\"?") {
            prop_assert_eq!(a_string(&json), serde_json::from_str::<String>(&json).ok(), "{}", json);
        }

        #[test]
        fn doubles_are_the_nearest(
            json in "-?(0|[1-9][0-9]{0,21})(\\.[0-9]{1,21})?([eE][-+]?[0-9]{1,3})?",
            value in any::<f64>().prop_filter("finite", |value| value.is_finite()),
        ) {
            for json in [json, value.to_string(), format!("{value:e}")] {
                let number = a_number(&json).expect("a number");
                prop_assert_eq!(number.double().to_bits(), json.parse::<f64>().unwrap().to_bits(), "{}", json);
                prop_assert_eq!(number.float().to_bits(), json.parse::<f32>().unwrap().to_bits(), "{}", json);
            }
        }

        #[test]
        fn whole_numbers_are_what_rust_reads(json in "-?(0|[1-9][0-9]{0,20})") {
            let wanted = match json.parse::<i64>() {
                _ if json == "-0" => Whole::Not,
                Ok(value) => Whole::Is(value),
                Err(_) => Whole::Beyond,
            };
            prop_assert_eq!(a_number(&json).map(|number| number.whole()), Some(wanted), "{}", json);
        }
    }

    fn nested(seed: &mut u64, depth: usize) -> Value {
        *seed = seed.wrapping_mul(0x5851_F42D_4C95_7F2D).wrapping_add(0x1405_7B7E_F767_814F);
        let dice = *seed >> 33;
        match dice % if depth == 0 { 5 } else { 8 } {
            0 => Value::Null,
            1 => Value::Bool(dice & 64 == 0),
            2 => Value::from(dice as i64 - (1 << 30)),
            3 => Value::from(dice as f64 / 1024.0),
            4 => Value::from("a\"\\\n é{[,]}:".repeat(dice as usize / 8 % 3)),
            5 => Value::Object(
                (0..dice / 8 % 4).map(|key| (format!("\t{key}"), nested(seed, depth - 1))).collect(),
            ),
            _ => Value::Array((0..dice / 8 % 4).map(|_| nested(seed, depth - 1)).collect()),
        }
    }
}
