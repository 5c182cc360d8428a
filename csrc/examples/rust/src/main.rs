//! Prints what a model that fastnn saved says about rows of numbers.
//!
//!     FASTNN_LIB=$(python -c "import fastnn, os; print(os.path.dirname(fastnn.get_library()))") cargo build --release
//!     echo "5.1 3.5 1.4 0.2" | target/release/predict iris.fnn

mod fastnn;

use std::io::Read;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let path = std::env::args().nth(1).ok_or("usage: predict MODEL < ROWS")?;
    let model = fastnn::Model::new(&std::fs::read(path)?)?;
    let mut session = fastnn::Session::new(&model, 256)?;

    let mut text = String::new();
    std::io::stdin().read_to_string(&mut text)?;
    let x = text.split_whitespace().map(str::parse).collect::<Result<Vec<f32>, _>>()?;
    let mut y = vec![0.0; x.len() / model.inputs() * model.outputs()];
    session.predict(&x, &mut y)?;
    for row in y.chunks(model.outputs()) {
        let best = (0..row.len()).max_by(|&a, &b| row[a].total_cmp(&row[b])).unwrap_or(0);
        let values: Vec<String> = row.iter().map(|value| format!("{value:e}")).collect();
        println!("{} {}", values.join(" "), model.class_name(best).unwrap_or_default());
    }
    Ok(())
}
