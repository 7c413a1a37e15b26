//! Widen: a table's columns after a release that may have more.
//!
//! Order: nothing is ever taken away, renamed or given another type: older files hold it as it was, and the release
//! before may come back. What a table has and a release has not stays, and reads as NULL.
//! Neighbours: the catalogue asks for it. Pure.

use ledger::columns::Column;

/// What is to become of a table's columns.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Widened {
    /// All of them, the table's first, in its order.
    pub columns: Vec<Column>,
    /// Names of new columns, and of those whose structs have new fields.
    pub gained: Vec<String>,
    /// Columns whose type is another one in the release, as sentences; they stay as they are.
    pub odd: Vec<String>,
}

/// `partitions`: names that directories hold; a table has each name once.
pub fn widened(table: &[Column], partitions: &[String], release: &[Column]) -> Widened {
    let mut after = Widened { columns: table.to_vec(), ..Widened::default() };
    for wanted in release.iter().filter(|column| !partitions.contains(&column.name)) {
        let Some(there) = after.columns.iter_mut().find(|column| column.name == wanted.name) else {
            after.gained.push(wanted.name.clone());
            after.columns.push(wanted.clone());
            continue;
        };
        match joined(&there.kind, &wanted.kind) {
            Some(kind) if kind == there.kind => {}
            Some(kind) => {
                after.gained.push(wanted.name.clone());
                there.kind = kind;
            }
            None => after.odd.push(format!(
                "`{}` is {} in the table and {} in the release",
                wanted.name, there.kind, wanted.kind
            )),
        }
    }
    after
}

/// A type with the fields of both; `None`: they differ in more than fields of structs.
fn joined(table: &str, release: &str) -> Option<String> {
    if table == release {
        return Some(table.to_owned());
    }
    let ((outer, table), (same, release)) = (inner(table)?, inner(release)?);
    if outer != same {
        return None;
    }
    let (table, release) = (parts(table), parts(release));
    let joined = match outer {
        "struct" => fields(&table, &release)?,
        _ if table.len() == release.len() => {
            let pairs = table.iter().zip(&release).map(|(a, b)| joined(a, b));
            pairs.collect::<Option<Vec<String>>>()?
        }
        _ => return None,
    };
    Some(format!("{outer}<{}>", joined.join(",")))
}

fn fields(table: &[&str], release: &[&str]) -> Option<Vec<String>> {
    let named = |fields: &[&'_ str]| -> Option<Vec<(String, String)>> {
        fields.iter().map(|it| it.split_once(':').map(|(a, b)| (a.to_owned(), b.to_owned()))).collect()
    };
    let (mut all, release) = (named(table)?, named(release)?);
    for (name, kind) in release {
        match all.iter_mut().find(|(has, _)| *has == name) {
            Some((_, there)) => *there = joined(there, &kind)?,
            None => all.push((name, kind)),
        }
    }
    Some(all.into_iter().map(|(name, kind)| format!("{name}:{kind}")).collect())
}

/// `array<int>` is `array` of `int`.
fn inner(kind: &str) -> Option<(&str, &str)> {
    kind.strip_suffix('>')?.split_once('<')
}

/// What stands between the commas of this level.
fn parts(inner: &str) -> Vec<&str> {
    let (mut parts, mut depth, mut from) = (Vec::new(), 0_u32, 0);
    for (at, letter) in inner.char_indices() {
        match letter {
            '<' | '(' => depth += 1,
            '>' | ')' => depth = depth.saturating_sub(1),
            ',' if depth == 0 => {
                parts.push(&inner[from..at]);
                from = at + 1;
            }
            _ => {}
        }
    }
    parts.push(&inner[from..]);
    parts
}

#[cfg(test)]
mod tests {
    use super::*;

    fn columns(of: &[(&str, &str)]) -> Vec<Column> {
        of.iter().map(|(name, kind)| Column { name: (*name).to_owned(), kind: (*kind).to_owned() }).collect()
    }

    #[test]
    fn new_columns_come_last_and_nothing_goes() {
        let table = columns(&[("id", "bigint"), ("old", "string"), ("_offset", "bigint")]);
        let release =
            columns(&[("id", "bigint"), ("shop", "string"), ("_offset", "bigint"), ("dt", "string")]);
        let after = widened(&table, &["dt".to_owned()], &release);
        let expected = [("id", "bigint"), ("old", "string"), ("_offset", "bigint"), ("shop", "string")];
        assert_eq!((after.columns, after.gained), (columns(&expected), vec!["shop".to_owned()]));
        assert!(after.odd.is_empty());
    }

    #[test]
    fn the_same_columns_change_nothing_whoever_has_more() {
        let table = columns(&[("id", "bigint"), ("more", "map<string,struct<a:int,b:decimal(3,1)>>")]);
        let fewer = columns(&[("more", "map<string,struct<b:decimal(3,1)>>")]);
        for release in [&table, &fewer, &Vec::new()] {
            let after = widened(&table, &[], release);
            assert_eq!(after, Widened { columns: table.clone(), ..Widened::default() });
        }
    }

    #[test]
    fn structs_gain_fields_however_deep_they_are() {
        let table = columns(&[("l", "array<map<string,struct<x:int,y:struct<a:decimal(3,1)>>>>")]);
        let release =
            columns(&[("l", "array<map<string,struct<y:struct<b:date,a:decimal(3,1)>,z:string>>>")]);
        let after = widened(&table, &[], &release);
        let kind = "array<map<string,struct<x:int,y:struct<a:decimal(3,1),b:date>,z:string>>>";
        assert_eq!((after.columns, after.gained), (columns(&[("l", kind)]), vec!["l".to_owned()]));
    }

    #[test]
    fn another_type_is_told_and_stays_as_it_was() {
        for (table, release) in [
            ("int", "bigint"),
            ("decimal(5,2)", "decimal(6,2)"),
            ("array<int>", "array<string>"),
            ("struct<a:int>", "struct<a:string,b:int>"),
            ("array<int>", "struct<a:int>"),
            ("string", "array<string>"),
        ] {
            let (table, release) = (columns(&[("c", table)]), columns(&[("c", release)]));
            let after = widened(&table, &[], &release);
            assert_eq!((&after.columns, after.gained.len(), after.odd.len()), (&table, 0, 1), "{after:?}");
        }
    }
}
