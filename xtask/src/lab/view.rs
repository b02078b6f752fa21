//! The live view: draws what the board knows, and knows nothing itself.

use anycast_tests::lab::Lab;
use anycast_tests::lab::control::Event;
use anycast_tests::lab::probe::{Family, Tool};
use anycast_tests::lab::topology::{City, RouterName, SERVICE_V4, SERVICE_V6};
use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Color, Style, Stylize as _};
use ratatui::text::{Line, Span};
use ratatui::widgets::{Block, Paragraph};
use serde_json::Value;

use super::board::Board;
use super::keys::{Action, Hand};

/// The rows that the client's six lines need, with their frame.
const CLIENT_ROWS: u16 = 8;
const ROUTER_ROWS: u16 = 5;
const NODE_ROWS: u16 = 12;

/// Draws one frame.
pub(super) fn draw(frame: &mut Frame<'_>, lab: &Lab, board: &Board, hand: &Hand) {
    let rows = Layout::vertical([
        Constraint::Length(CLIENT_ROWS),
        Constraint::Length(NODE_ROWS),
        Constraint::Length(ROUTER_ROWS),
        Constraint::Min(3),
        Constraint::Length(4),
    ])
    .split(frame.area());
    draw_client(frame, rows[0], board);
    let halves = Layout::horizontal([Constraint::Fill(1); 2]).split(rows[1]);
    for (city, area) in City::ALL.into_iter().zip(halves.iter()) {
        draw_node(frame, *area, city, lab, board, hand);
    }
    draw_routers(frame, rows[2], lab);
    draw_events(frame, rows[3], lab);
    draw_keys(frame, rows[4], lab, board, hand);
}

fn color(city: City) -> Color {
    match city {
        City::A => Color::Green,
        City::B => Color::Yellow,
    }
}

fn mark(answer: Option<City>) -> Span<'static> {
    match answer {
        Some(city) => Span::styled(city.letter().to_string(), Style::new().fg(color(city))),
        None => "×".red(),
    }
}

fn draw_client(frame: &mut Frame<'_>, area: Rect, board: &Board) {
    let mut lines = Vec::new();
    for tool in Tool::ALL {
        for family in Family::ALL {
            let answers = board.answers(tool, family);
            let now = match answers.back() {
                Some(Some(city)) => {
                    Span::styled(format!("{city:9}"), Style::new().fg(color(*city)).bold())
                }
                Some(None) => "no answer".red().bold(),
                None => "         ".into(),
            };
            let asked = format!("{:5}{:15}", tool.name(), family.service());
            let room = usize::from(area.width).saturating_sub(asked.len() + 9 + 4);
            let mut line = vec![Span::raw(asked), now, "  ".into()];
            line.extend(
                answers
                    .iter()
                    .skip(answers.len().saturating_sub(room))
                    .map(|answer| mark(*answer)),
            );
            lines.push(Line::from(line));
        }
    }
    let title = " client: which city answers, twice a second ";
    frame.render_widget(
        Paragraph::new(lines).block(Block::bordered().title(title)),
        area,
    );
}

fn draw_node(frame: &mut Frame<'_>, area: Rect, city: City, lab: &Lab, board: &Board, hand: &Hand) {
    let node = lab.node(city);
    let dns = match (node.dns_runs(), node.dns_hangs()) {
        (false, _) => "killed".red(),
        (true, true) => "hangs".red(),
        (true, false) => "runs".into(),
    };
    let controller = match node.controller_id() {
        Some(id) => Span::raw(format!("runs, process {id}")),
        None => "does not run".red(),
    };
    let link = if hand.has_cut(city) {
        "cut".red()
    } else {
        "up".into()
    };
    let mut lines = vec![
        fact("anycast", controller),
        fact("NSD", dns),
        fact("link", link),
    ];
    if let Some(status) = board.status(city) {
        lines.extend(told(&status));
    }
    let chosen = hand.city == city;
    let title = Line::styled(format!(" {city} "), Style::new().fg(color(city)).bold());
    let border = if chosen {
        Style::new().fg(color(city))
    } else {
        Style::new().dim()
    };
    let block = Block::bordered().title(title).border_style(border);
    frame.render_widget(Paragraph::new(lines).block(block), area);
}

fn fact<'a>(name: &str, value: Span<'a>) -> Line<'a> {
    Line::from(vec![Span::raw(format!("{name:9} ")).dim(), value])
}

/// What the node says of itself.
fn told(status: &Value) -> Vec<Line<'static>> {
    let mut lines = Vec::new();
    for service in each(&status["services"]) {
        let state = text(service, "state");
        let styled = match state.as_str() {
            "up" => state.green(),
            "down" | "disabled" => state.red(),
            _ => state.yellow(),
        };
        let mut line = fact(&text(service, "name"), styled.bold());
        line.push_span(Span::raw(format!("  {}", text(service, "reason"))));
        lines.push(line);
        for check in each(&service["checks"]) {
            let took = check["took_us"].as_u64().unwrap_or_default();
            let said = format!(
                "{}  {took} µs  {}",
                text(check, "verdict"),
                text(check, "output")
            );
            lines.push(fact(&text(check, "name"), Span::raw(said)));
        }
        let packets = service["packets"].as_object().into_iter().flatten();
        let counts: Vec<_> = packets
            .filter_map(|(reason, count)| Some((reason, count["packets"].as_u64()?)))
            .filter(|(_, packets)| *packets > 0)
            .map(|(reason, packets)| format!("{packets} {reason}"))
            .collect();
        lines.push(fact("packets", Span::raw(counts.join("  "))));
    }
    lines.extend(each(&status["peers"]).map(|peer| {
        let state = text(peer, "state");
        let styled = if state == "established" {
            state.into()
        } else {
            state.red()
        };
        fact(&text(peer, "name"), styled)
    }));
    lines
}

fn each(list: &Value) -> impl Iterator<Item = &Value> {
    list.as_array().into_iter().flatten()
}

fn text(object: &Value, key: &str) -> String {
    object[key].as_str().unwrap_or("?").to_owned()
}

fn draw_routers(frame: &mut Frame<'_>, area: Rect, lab: &Lab) {
    let routers = [
        RouterName::Exchange,
        RouterName::Of(City::A),
        RouterName::Of(City::B),
    ];
    let lines = routers.map(|router| {
        let mut line = vec![Span::raw(format!("{:9}", router.name()))];
        for service in [SERVICE_V4, SERVICE_V6] {
            let way = lab
                .leads_to(router, service)
                .unwrap_or_else(|| "nowhere".into());
            line.push(Span::raw(format!(" {service} → ")).dim());
            line.push(Span::raw(format!("{way:12}")));
        }
        Line::from(line)
    });
    let block = Block::bordered().title(" routers: where the kernel sends the address ");
    frame.render_widget(Paragraph::new(lines.to_vec()).block(block), area);
}

fn draw_events(frame: &mut Frame<'_>, area: Rect, lab: &Lab) {
    let room = usize::from(area.height.saturating_sub(2));
    let mut events: Vec<(City, Event)> = City::ALL
        .into_iter()
        .flat_map(|city| {
            lab.node(city)
                .last_events(room)
                .into_iter()
                .map(move |event| (city, event))
        })
        .collect();
    events.sort_by_key(|(_, event)| event.monotonic_ns);
    let lines: Vec<_> = events
        .iter()
        .skip(events.len().saturating_sub(room))
        .map(|(city, event)| {
            Line::from(vec![
                Span::styled(format!("{city}  "), Style::new().fg(color(*city))),
                Span::raw(event.to_string()),
            ])
        })
        .collect();
    let block = Block::bordered().title(" events ");
    frame.render_widget(Paragraph::new(lines).block(block), area);
}

fn draw_keys(frame: &mut Frame<'_>, area: Rect, lab: &Lab, board: &Board, hand: &Hand) {
    let status = board.status(hand.city);
    let lines: Vec<_> = Action::KEYS
        .chunks(Action::KEYS.len().div_ceil(2))
        .map(|half| {
            let keys = half.iter().flat_map(|(key, action)| {
                [
                    Span::raw(format!("{key:>5} ")).bold(),
                    Span::raw(format!("{:17}", hand.label(*action, lab, status.as_ref()))),
                ]
            });
            Line::from_iter(keys)
        })
        .collect();
    let block = Block::bordered().title(format!(" {}  {} ", hand.city, hand.said));
    frame.render_widget(Paragraph::new(lines).block(block), area);
}
