use super::*;

fn mapping() -> Mapping {
    toml::from_str(
        r#"
        canteen = "Till"
        currency = "USD"
        zone = "America/Chicago"
        [columns]
        order = "id"
        time = { columns = ["at"], format = "%Y-%m-%d %H:%M" }
        dish = "dish"
        quantity = "n"
        unit_price = "price"
        currency = "cur"
        diner = "who"
    "#,
    )
    .unwrap()
}

fn history(rows: &str) -> History {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("till.csv");
    std::fs::write(&file, format!("id,at,dish,n,price,cur,who\n{rows}")).unwrap();
    read(&file, &mapping(), "2026-01-01T00:00:00Z".parse().unwrap()).unwrap()
}

fn reasons(history: &History) -> Vec<(u64, &str)> {
    history.bad.rows.iter().map(|bad| (bad.line, bad.reason.as_str())).collect()
}

#[test]
fn rows_of_one_order_need_not_follow_each_other() {
    let history = history(
        "2,2015-01-01 12:00,Soup,1,3,USD,b\n1,2015-01-01 11:05,Soup,1,3.50,USD,a\n\
         2,2015-01-01 12:01,Bread,2,0.5,USD,b\n1,2015-01-01 11:00,Soup,2,3.50,USD,a\n",
    );
    assert_eq!(reasons(&history), []);
    assert_eq!((history.rows, history.orders.len()), (4, 2));
    let [first, second] = &history.orders[..] else { panic!("two orders") };
    // The earliest row dates the order, and equal lines are one.
    assert_eq!((first.number.as_str(), first.at.to_string().as_str()), ("1", "2015-01-01T17:00:00Z"));
    assert_eq!(first.lines, [PastLine { dish: 0, unit_price: 350, quantity: 3 }]);
    let bread = PastLine { dish: 1, unit_price: 50, quantity: 2 };
    assert_eq!(second.lines, [bread, PastLine { dish: 0, unit_price: 300, quantity: 1 }]);
}

#[test]
fn a_bad_row_leaves_its_whole_order_out() {
    let history = history(
        "1,2015-01-01 11:00,Soup,1,3,USD,a\n1,2015-01-01 11:00,Soup,zero,3,USD,a\n\
         1,2015-01-01 11:00,Bread,1,1,USD,a\n2,2015-01-01 11:00,Soup,1,3,USD,a\n",
    );
    assert_eq!(reasons(&history), [(3, "quantity: \"zero\" is not a whole number from 1 to 1000")]);
    assert_eq!(history.bad.left_out, ["1"]);
    assert_eq!(history.orders.iter().map(|order| order.number.as_str()).collect::<Vec<_>>(), ["2"]);
}

#[test]
fn each_kind_of_badness_is_named() {
    for (row, why) in [
        (",2015-01-01 11:00,Soup,1,3,USD,a", "order: the field is empty"),
        ("1,,Soup,1,3,USD,a", "time: the field is empty"),
        ("1,2015-13-01 11:00,Soup,1,3,USD,a", "is not a time of the format"),
        ("1,2215-01-01 11:00,Soup,1,3,USD,a", "does not lie between 1970 and now"),
        ("1,1215-01-01 11:00,Soup,1,3,USD,a", "does not lie between 1970 and now"),
        ("1,2015-01-01 11:00, ,1,3,USD,a", "dish: the field is empty"),
        ("1,2015-01-01 11:00,Soup,0,3,USD,a", "quantity: \"0\""),
        ("1,2015-01-01 11:00,Soup,-1,3,USD,a", "quantity: \"-1\""),
        ("1,2015-01-01 11:00,Soup,+1,3,USD,a", "quantity: \"+1\""),
        ("1,2015-01-01 11:00,Soup,1001,3,USD,a", "quantity: \"1001\""),
        ("1,2015-01-01 11:00,Soup,99999999999999999999,3,USD,a", "quantity: \"999"),
        ("1,2015-01-01 11:00,Soup,1,3.001,USD,a", "2 decimal places"),
        ("1,2015-01-01 11:00,Soup,1,-3,USD,a", "does not lie between 0 and"),
        ("1,2015-01-01 11:00,Soup,1,1e3,USD,a", "is not a number"),
        ("1,2015-01-01 11:00,Soup,1,NaN,USD,a", "is not a number"),
        ("1,2015-01-01 11:00,Soup,1,1.2.3,USD,a", "is not a number"),
        ("1,2015-01-01 11:00,Soup,1,99999999999999999999999999999999,USD,a", "unit_price"),
        ("1,2015-01-01 11:00,Soup,1,10000000.01,USD,a", "does not lie between 0 and 10000000.00"),
        ("1,2015-01-01 11:00,Soup,1,3,XYZ,a", "is not a currency"),
        ("1,2015-01-01 11:00,Soup,1,3,CNY,a", "sells in USD"),
        ("1,2015-01-01 11:00,Soup,1,3,USD,", "diner: the field is empty"),
        ("1,2015-01-01 11:00,Soup,1,3,USD", "has 6 fields, the header has 7"),
    ] {
        let history = history(&format!("{row}\n"));
        let [(2, reason)] = reasons(&history)[..] else { panic!("{row}: {:?}", reasons(&history)) };
        assert!(reason.contains(why), "{row}: {reason}");
        assert!(history.orders.is_empty(), "{row}");
        assert_eq!(history.bad.left_out.len(), usize::from(!row.starts_with(',')), "{row}");
    }
}

#[test]
fn an_order_of_two_diners_or_of_too_many_lines_is_left_out() {
    let two = history("1,2015-01-01 11:00,Soup,1,3,USD,a\n1,2015-01-01 11:00,Soup,1,3,USD,b\n");
    assert_eq!(reasons(&two), [(3, "diner: the order's first row, on line 2, names another one")]);
    let row = |price: usize| format!("1,2015-01-01 11:00,Soup,1,{price},USD,a\n");
    let many = history(&(1..=MAX_LINES + 1).map(row).collect::<String>());
    assert_eq!(reasons(&many), [(52, "an order has at most 50 different lines")]);
    let much = history("1,2015-01-01 11:00,Soup,600,3,USD,a\n1,2015-01-01 11:00,Soup,600,3,USD,a\n");
    assert_eq!(reasons(&much).len(), 1);
    assert!(two.orders.is_empty() && many.orders.is_empty() && much.orders.is_empty());
}

#[test]
fn a_header_without_a_mapped_column_is_an_error_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("till.csv");
    std::fs::write(&file, "id,at,dish,n,cost,cur,who\n").unwrap();
    let error = read(&file, &mapping(), Timestamp::EPOCH).unwrap_err().to_string();
    assert!(error.contains("no column \"price\"; it has id, at, dish, n, cost, cur, who"), "{error}");
}
