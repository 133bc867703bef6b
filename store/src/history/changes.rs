//! What differs between two JSON values.

use serde_json::Value;

/// One place at which a value differs from the one before.
#[derive(Clone, Debug, PartialEq)]
pub struct Change {
    /// A JSON pointer (RFC 6901), such as `/content/posted`. In a list, the index is where an item
    /// was put in or taken out.
    pub path: String,
    /// None where nothing was.
    pub old: Option<Value>,
    /// None where nothing is any more.
    pub new: Option<Value>,
}

/// What leads from `old` to `new`, the smallest places that differ, in the order of their paths.
pub fn changes(old: &Value, new: &Value) -> Vec<Change> {
    let mut found = Vec::new();
    compare(&mut String::new(), old, new, &mut found);
    found
}

fn compare(path: &mut String, old: &Value, new: &Value, found: &mut Vec<Change>) {
    match (old, new) {
        (old, new) if old == new => {}
        (Value::Object(old), Value::Object(new)) => {
            let mut names: Vec<&String> =
                old.keys().chain(new.keys().filter(|name| !old.contains_key(*name))).collect();
            names.sort_unstable();
            for name in names {
                let name_in_path = name.replace('~', "~0").replace('/', "~1");
                beneath(path, &name_in_path, old.get(name), new.get(name), found);
            }
        }
        (Value::Array(old), Value::Array(new)) => lists(path, old, new, found),
        (old, new) => found.push(Change { path: path.clone(), old: Some(old.clone()), new: Some(new.clone()) }),
    }
}

/// Items that both begin with, and those that both end with, are the same ones; what lies between
/// is compared one by one.
fn lists(path: &mut String, old: &[Value], new: &[Value], found: &mut Vec<Change>) {
    let front = old.iter().zip(new).take_while(|(old, new)| old == new).count();
    let (old, new) = (&old[front..], &new[front..]);
    let back = old.iter().rev().zip(new.iter().rev()).take_while(|(old, new)| old == new).count();
    let (old, new) = (&old[..old.len() - back], &new[..new.len() - back]);
    for index in 0..old.len().max(new.len()) {
        beneath(path, &(front + index).to_string(), old.get(index), new.get(index), found);
    }
}

fn beneath(path: &mut String, name: &str, old: Option<&Value>, new: Option<&Value>, found: &mut Vec<Change>) {
    let length = path.len();
    path.push('/');
    path.push_str(name);
    match (old, new) {
        (Some(old), Some(new)) => compare(path, old, new, found),
        (old, new) => found.push(Change { path: path.clone(), old: old.cloned(), new: new.cloned() }),
    }
    path.truncate(length);
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn shown(old: &Value, new: &Value) -> Vec<String> {
        let side = |side: Option<Value>| side.map_or("-".to_owned(), |value| value.to_string());
        changes(old, new).into_iter().map(|it| format!("{} {} {}", it.path, side(it.old), side(it.new))).collect()
    }

    #[test]
    fn the_smallest_places_are_named() {
        let (old, new) =
            (json!({"a": {"b": 1, "c": 2}, "d": [1]}), json!({"a": {"b": 1, "c": 3}, "d": [1], "e": null}));
        assert_eq!(shown(&old, &new), ["/a/c 2 3", "/e - null"]);
        assert_eq!(shown(&new, &old), ["/a/c 3 2", "/e null -"]);
        assert!(changes(&old, &old).is_empty());
        assert_eq!(shown(&json!("New"), &json!({"a": 1})), [" \"New\" {\"a\":1}"]);
    }

    #[test]
    fn what_is_put_into_a_list_moves_nothing_else() {
        assert_eq!(shown(&json!([1, 2, 4]), &json!([1, 2, 3, 4])), ["/2 - 3"]);
        assert_eq!(shown(&json!([1, 2, 3, 4]), &json!([1, 4])), ["/1 2 -", "/2 3 -"]);
        assert_eq!(shown(&json!([{"a": 1}, 9]), &json!([{"a": 2}, 9])), ["/0/a 1 2"]);
        assert_eq!(shown(&json!([1, 1]), &json!([1, 1, 1])), ["/2 - 1"]);
    }

    #[test]
    fn names_are_escaped_as_pointers_are() {
        let (old, new) = (json!({"a/b": 1, "c~d": 1}), json!({"a/b": 2, "c~d": 2}));
        let found = changes(&old, &new);
        assert_eq!(found.iter().map(|it| it.path.as_str()).collect::<Vec<_>>(), ["/a~1b", "/c~0d"]);
        for change in found {
            assert_eq!(new.pointer(&change.path), change.new.as_ref());
        }
    }
}
