//! The plots, as SVG.

use anyhow::{Context as _, anyhow};
use plotters::prelude::{
    BLACK, ChartBuilder, Color as _, IntoDrawingArea as _, RGBColor, Rectangle, SVGBackend, Text,
    WHITE,
};
use plotters::style::IntoFont as _;

use super::results::Results;

const WIDTH: u32 = 860;
const ROW: u32 = 22;
const FRAME: u32 = 60;
const FONT: &str = "sans-serif";
const OURS: RGBColor = RGBColor(0x1f, 0x77, 0xb4);
const THEIRS: RGBColor = RGBColor(0x99, 0x99, 0x99);

/// A bar.
struct Bar {
    name: String,
    value: f64,
    color: RGBColor,
}

/// Nanoseconds by case.
pub(super) fn cost(results: &Results) -> anyhow::Result<String> {
    let bars = results
        .cases
        .iter()
        .filter_map(|(name, _)| {
            let reference =
                name == "drop" || name.starts_with("floor") || name.starts_with("xdp-filter");
            Some(Bar {
                value: results.ns(name)?.max(0.0),
                color: if reference { THEIRS } else { OURS },
                name: name.clone(),
            })
        })
        .collect();
    draw(
        "Nanoseconds a packet (grey: what it is compared with)",
        bars,
    )
}

/// Millions of packets a second by case of live frames.
pub(super) fn live(results: &Results) -> anyhow::Result<String> {
    let bars = results
        .live
        .iter()
        .map(|(name, mpps)| Bar {
            name: name.clone(),
            value: *mpps,
            color: if name.ends_with("-xdp") { OURS } else { THEIRS },
        })
        .collect();
    draw("Million packets a second on one processor", bars)
}

fn draw(title: &str, bars: Vec<Bar>) -> anyhow::Result<String> {
    let rows = u32::try_from(bars.len()).context("a number of bars")?;
    let most = bars.iter().map(|bar| bar.value).fold(0.0, f64::max);
    let mut svg = String::new();
    let area = SVGBackend::with_string(&mut svg, (WIDTH, rows * ROW + FRAME)).into_drawing_area();
    let failed = |error: &dyn std::fmt::Display| anyhow!("cannot draw: {error}");
    area.fill(&WHITE).map_err(|error| failed(&error))?;
    let mut chart = ChartBuilder::on(&area)
        .caption(title, (FONT, 16))
        .margin(8)
        .margin_left(210)
        .build_cartesian_2d(0.0..most.max(1.0) * 1.1, f64::from(rows)..0.0)
        .map_err(|error| failed(&error))?;
    for (row, bar) in (0_u32..).zip(bars) {
        let top = f64::from(row);
        chart
            .draw_series([Rectangle::new(
                [(0.0, top + 0.15), (bar.value, top + 0.85)],
                bar.color.filled(),
            )])
            .map_err(|error| failed(&error))?;
        let font = (FONT, 12).into_font().color(&BLACK);
        chart
            .draw_series([Text::new(
                format!(" {:.1}", bar.value),
                (bar.value, top + 0.25),
                font.clone(),
            )])
            .map_err(|error| failed(&error))?;
        let (_, y) = chart.backend_coord(&(0.0, top + 0.25));
        area.draw(&Text::new(bar.name, (8, y), font))
            .map_err(|error| failed(&error))?;
    }
    area.present().map_err(|error| failed(&error))?;
    drop(chart);
    drop(area);
    Ok(svg)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    #[test]
    fn a_plot_names_every_case() {
        let results = Results {
            live: BTreeMap::from([("echo-xdp".into(), 5.8), ("echo-kernel".into(), 0.5)]),
            ..Results::default()
        };
        let svg = live(&results).unwrap();
        assert!(svg.starts_with("<svg") && svg.trim_end().ends_with("</svg>"));
        for text in ["echo-xdp", "echo-kernel", "5.8"] {
            assert!(svg.contains(text), "{text}: {svg}");
        }
    }
}
