use super::{
    super::tally::{LeftOutSum, Sum},
    *,
};

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

/// With cancellations, visitors, and rows that cost nothing left out.
fn retail() -> Mapping {
    let text = toml::to_string(&mapping()).unwrap();
    let top = "missing_diner = \"visitor\"\nzero_price = \"leave_out\"\n";
    let text = text.replace("missing_diner = \"bad_row\"\n", "").replace("zero_price = \"sell\"\n", "");
    toml::from_str(&format!("{top}{text}\n[cancellations]\nprefix = \"C\"\n")).unwrap()
}

fn read_with(mapping: &Mapping, rows: &str) -> History {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("till.csv");
    std::fs::write(&file, format!("id,at,dish,n,price,cur,who\n{rows}")).unwrap();
    read(&file, mapping, "2026-01-01T00:00:00Z".parse().unwrap()).unwrap()
}

fn history(rows: &str) -> History {
    read_with(&mapping(), rows)
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
    assert_eq!(first.shares, [Share { row: 3, line: 0, quantity: 1 }, Share { row: 5, line: 0, quantity: 2 }]);
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
    assert_eq!(reasons(&history), [(3, "quantity: \"zero\" is not a whole number from 1 to 100000")]);
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
        ("1,2015-01-01 11:00,Soup,100001,3,USD,a", "quantity: \"100001\""),
        ("1,2015-01-01 11:00,Soup,1001,10000000,USD,a", "quantity: 1001 portions are worth more than 10000000000.00"),
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
fn an_order_of_two_diners_or_of_too_many_portions_is_left_out() {
    let two = history("1,2015-01-01 11:00,Soup,1,3,USD,a\n1,2015-01-01 11:00,Soup,1,3,USD,b\n");
    assert_eq!(reasons(&two), [(3, "diner: the order's first row, on line 2, names another one")]);
    let much = history(&"1,2015-01-01 11:00,Soup,100000,0.01,USD,a\n".repeat(11));
    assert_eq!(reasons(&much), [(12, "quantity: an order has at most 1000000 portions")]);
    assert!(two.orders.is_empty() && much.orders.is_empty());
    let sums = |history: &History| history.tally.reconciled().left_out;
    let sum = |reason, rows, minor| LeftOutSum { reason, rows, unreadable: 0, minor };
    assert_eq!(sums(&two), [sum(Reason::BadRow, 1, 300), sum(Reason::OrderHasBadRow, 1, 300)]);
    assert_eq!(sums(&much), [sum(Reason::BadRow, 1, 100_000), sum(Reason::OrderHasBadRow, 10, 1_000_000)]);
}

#[test]
fn what_is_larger_than_an_order_becomes_several() {
    let row = |price: usize| format!("1,2015-01-01 11:00,Soup,1,{price},USD,a\n");
    let many = history(&(1..=2 * MAX_LINES + 1).rev().map(row).collect::<String>());
    assert_eq!((reasons(&many), many.split), (vec![], 1));
    let parts: Vec<_> = many.orders.iter().map(|order| (order.name(), order.lines.len())).collect();
    assert_eq!(parts, [("1".to_owned(), 50), ("1/2".to_owned(), 50), ("1/3".to_owned(), 1)]);
    // By price, whatever the order of the rows: the last row of the file is the cheapest.
    assert_eq!(many.orders[0].shares[0], Share { row: 102, line: 0, quantity: 1 });
    assert_eq!(many.orders[2].lines[0].unit_price, 10_100);
    // 1,000 portions a line: equal rows fill lines, and a row may fill several.
    let much = history("1,2015-01-01 11:00,Soup,600,3,USD,a\n1,2015-01-01 11:00,Soup,1700,3,USD,a\n");
    let [order] = &much.orders[..] else { panic!("one order") };
    assert_eq!(order.lines.iter().map(|line| line.quantity).collect::<Vec<_>>(), [1_000, 1_000, 300]);
    let shares: Vec<_> = order.shares.iter().map(|share| (share.row, share.line, share.quantity)).collect();
    assert_eq!(shares, [(2, 0, 600), (3, 0, 400), (3, 1, 1_000), (3, 2, 300)]);
    assert_eq!(order.worth().map(|(_, minor)| minor).sum::<i64>(), 2_300 * 300);
}

#[test]
fn cancellations_are_read_apart_and_their_equal_rows_are_one_line() {
    let rows = "1,2015-01-01 11:00,Soup,3,3,USD,a\nC2,2015-01-01 12:00,Soup,-1,3,USD,a\n\
                C2,2015-01-01 12:00,Soup,-1,3,USD,a\nC2,2015-01-01 12:00,Bread,-2,1,USD,a\n\
                C3,2015-01-01 12:00,Soup,1,3,USD,a\n4,2015-01-01 12:00,Soup,-1,3,USD,a\n";
    let history = read_with(&retail(), rows);
    let why = "quantity: \"1\" is not a whole number from -100000 to -1, as a cancellation's is";
    assert_eq!(reasons(&history)[0], (6, why));
    assert_eq!(reasons(&history)[1].0, 7);
    let [cancelled] = &history.cancellations[..] else { panic!("one cancellation") };
    assert_eq!((cancelled.number.as_str(), &cancelled.who), ("C2", &Who::Diner("a".into())));
    let lines: Vec<_> =
        cancelled.lines.iter().map(|line| (line.unit_price, line.quantity, line.rows.clone())).collect();
    assert_eq!(lines, [(100, 2, vec![(5, 2)]), (300, 2, vec![(3, 1), (4, 1)])]);
    assert_eq!(history.tally.reconciled().file, Sum { rows: 6, minor: 900 - 300 - 300 - 200 + 300 - 300 });
    // Without the section a minus is a bad row.
    assert_eq!(reasons(&read_with(&mapping(), rows)).len(), 4);
}

#[test]
fn a_row_without_a_diner_is_a_visitors_and_one_without_a_price_is_left_out() {
    let rows = "1,2015-01-01 11:00,Soup,3,3,USD,\n1,2015-01-01 11:00,Bag,1,0,USD,\n\
                2,2015-01-01 11:00,Soup,-40,0.00,USD,\n3,2015-01-01 11:00,Soup,1,3,USD,a\n\
                3,2015-01-01 11:00,Soup,1,3,USD,\n4,2015-01-01 11:00,Soup,x,0,USD,\n";
    let history = read_with(&retail(), rows);
    let [order] = &history.orders[..] else { panic!("{:?}", history.orders) };
    assert_eq!((order.number.as_str(), &order.who, order.lines.len()), ("1", &Who::Visitor, 1));
    let whys = reasons(&history);
    assert_eq!(whys[0], (6, "diner: the order's first row, on line 5, names another one"));
    assert_eq!((whys[1].0, whys.len()), (7, 2));
    let left: Vec<_> = history.tally.into_left_out().iter().map(|row| (row.line, row.reason)).collect();
    let bad = [(5, Reason::OrderHasBadRow), (6, Reason::BadRow), (7, Reason::BadRow)];
    assert_eq!(left, [[(3, Reason::ZeroPrice), (4, Reason::ZeroPrice)].as_slice(), bad.as_slice()].concat());
}

#[test]
fn a_dish_costs_what_it_was_first_sold_for_not_what_was_taken_back() {
    let rows = "C1,2015-01-01 11:00,Soup,-1,9,USD,a\n2,2015-01-01 12:00,Soup,1,3,USD,a\n\
                3,2015-01-01 12:00,Soup,1,4,USD,a\n";
    assert_eq!(read_with(&retail(), rows).dishes[0].price.minor, 300);
}

#[test]
fn what_a_row_is_worth_is_known_also_where_it_is_bad_otherwise() {
    for (row, minor) in [
        ("1,never,Soup,2,3,USD,a", Some(600)),
        ("1,2015-01-01 11:00,Soup,-2,3,USD,a", Some(-600)),
        ("1,2015-01-01 11:00,Soup,1,-11062.06,USD,a", Some(-1_106_206)),
        (",2015-01-01 11:00,Soup,2,3,USD,a", Some(600)),
        ("1,2015-01-01 11:00,Soup,two,3,USD,a", None),
        ("1,2015-01-01 11:00,Soup,2,3.001,USD,a", None),
        ("1,2015-01-01 11:00,Soup,2,3,USD", None),
        ("1,2015-01-01 11:00,Soup,9999999,10000000,USD,a", None),
    ] {
        let left = history(&format!("{row}\n")).tally.into_left_out();
        assert_eq!((left.len(), left[0].amount_minor), (1, minor), "{row}");
    }
}

#[test]
fn a_header_without_a_mapped_column_is_an_error_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("till.csv");
    std::fs::write(&file, "id,at,dish,n,cost,cur,who\n").unwrap();
    let error = read(&file, &mapping(), Timestamp::EPOCH).unwrap_err().to_string();
    assert!(error.contains("no column \"price\"; it has id, at, dish, n, cost, cur, who"), "{error}");
}
