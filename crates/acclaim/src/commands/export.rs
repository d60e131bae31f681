//! `acclaim export`: all edges of a kind to standard output.

use std::io::{self, BufWriter, Write};
use std::path::Path;

use acclaim_cluster::engine::Cluster;
use acclaim_core::port::ExportedEdge;
use acclaim_core::transfer::{Decoded, Decoder, Defaults, Format, Writer};
use acclaim_core::{Engine, Kind, Kinds, Rev};
use anyhow::{Context as _, bail};
use http_body_util::BodyExt as _;
use hyper::Method;

use super::{Edges, patience};
use crate::cli::{ExportArgs, ExportFormat};
use crate::client::{Client, Endpoint};
use crate::cluster;
use crate::output::Outcome;
use crate::store::{self, Store};

/// Edges read from the store at a time.
const READ_EDGES: usize = 5_000;

/// Exports from a server or from a data directory.
pub fn run(args: &ExportArgs, file: Option<&Path>) -> anyhow::Result<Outcome> {
    let mut out = BufWriter::with_capacity(64 * 1024, io::stdout().lock());
    let runtime = store::runtime()?;
    match Edges::of(&args.place, file)? {
        Edges::Server(url) => runtime.block_on(from_server(&url, args, &mut out))?,
        Edges::Directory(config) => {
            let store = store::open_existing(&config)?;
            let export = async |store: &Store| from_engine(&*store.engine, args, &mut out).await;
            runtime.block_on(store.close_after(export))?;
        }
        Edges::Cluster(config) => {
            let export = async |cluster: &Cluster| {
                cluster::settle(cluster).await?;
                from_engine(cluster, args, &mut out).await
            };
            match runtime.block_on(cluster::with(&config, export)) {
                Ok(exported) => exported?,
                Err(failure) => return failure.end(),
            }
        }
    }
    out.flush()?;
    Ok(Outcome::Done)
}

impl From<ExportFormat> for Format {
    fn from(format: ExportFormat) -> Self {
        match format {
            ExportFormat::Ndjson => Self::Ndjson,
            ExportFormat::Csv => Self::Csv,
        }
    }
}

async fn from_engine(
    engine: &dyn Engine,
    args: &ExportArgs,
    out: &mut impl Write,
) -> anyhow::Result<()> {
    let kind = crate::store::find_kind(engine.kinds(), &args.kind)?;
    let writer = Writer::new(args.format.into(), engine.kinds());
    out.write_all(writer.header().as_bytes())?;
    let mut text = String::new();
    let mut after = None;
    loop {
        let edges = patience::read(|| engine.export(kind, after.clone(), READ_EDGES)).await?;
        let Some(last) = edges.last() else {
            return Ok(());
        };
        after = Some(last.edge.clone());
        text.clear();
        edges.iter().for_each(|edge| writer.write(edge, &mut text));
        out.write_all(text.as_bytes())?;
    }
}

/// The server writes NDJSON. CSV is made of it here.
async fn from_server(url: &str, args: &ExportArgs, out: &mut impl Write) -> anyhow::Result<()> {
    let mut client = Client::connect(Endpoint::of_url(url)?).await?;
    let kind: String = percent_encoded(&args.kind);
    let path = format!("/api/v2/export?kind={kind}");
    let answer = client
        .send(Method::GET, &path, None, Default::default())
        .await?;
    let mut body = answer.into_body();
    let mut rewrite = match args.format {
        ExportFormat::Ndjson => None,
        ExportFormat::Csv => Some(Rewrite::new(&args.kind, out)?),
    };
    while let Some(frame) = body.frame().await {
        let frame = frame.context("the export broke off before its end")?;
        let Some(piece) = frame.data_ref() else {
            continue;
        };
        match &mut rewrite {
            Some(rewrite) => rewrite.piece(piece, out)?,
            None => out.write_all(piece)?,
        }
    }
    rewrite.map_or(Ok(()), |rewrite| rewrite.end(out))
}

/// Kinds are letters, digits and dashes; whatever else was given must reach the server whole, so
/// that it can say what is wrong with it.
fn percent_encoded(text: &str) -> String {
    let encode = |byte: u8| match byte {
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' => char::from(byte).to_string(),
        other => format!("%{other:02X}"),
    };
    text.bytes().map(encode).collect()
}

/// Makes CSV of the NDJSON of one kind.
struct Rewrite {
    kinds: Kinds,
    decoder: Decoder,
    decoded: Decoded,
    text: String,
}

impl Rewrite {
    fn new(kind: &str, out: &mut impl Write) -> anyhow::Result<Self> {
        // Whatever the server has under this kind is allowed.
        let kinds = Kinds::new([Kind::open(kind)])?;
        out.write_all(Writer::new(Format::Csv, &kinds).header().as_bytes())?;
        Ok(Self {
            decoder: Decoder::new(Format::Ndjson, &kinds, Defaults::default()),
            kinds,
            decoded: Decoded::default(),
            text: String::new(),
        })
    }

    fn piece(&mut self, piece: &[u8], out: &mut impl Write) -> anyhow::Result<()> {
        self.decoder.decode(piece, Rev::MAX, &mut self.decoded)?;
        self.write(out)
    }

    fn end(mut self, out: &mut impl Write) -> anyhow::Result<()> {
        let empty = Decoder::new(Format::Ndjson, &self.kinds, Defaults::default());
        let decoder = std::mem::replace(&mut self.decoder, empty);
        decoder.finish(Rev::MAX, &mut self.decoded)?;
        self.write(out)
    }

    fn write(&mut self, out: &mut impl Write) -> anyhow::Result<()> {
        if let Some(rejection) = self.decoded.rejections.first() {
            bail!(
                "line {} of the export cannot be read: {}",
                rejection.line,
                rejection.detail
            );
        }
        let writer = Writer::new(Format::Csv, &self.kinds);
        for op in self.decoded.ops.drain(..) {
            let at = op.at.context("an edge of the export has no time")?;
            writer.write(&ExportedEdge { edge: op.edge, at }, &mut self.text);
        }
        out.write_all(self.text.as_bytes())?;
        self.text.clear();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn csv_is_made_of_ndjson_cut_anywhere() {
        let lines = "{\"kind\":\"follows\",\"userId\":1,\"targetType\":\"USER\",\"targetId\":\"2\",\
                     \"at\":\"2026-11-20T10:00:00.000001Z\"}\n";
        let mut out = Vec::new();
        let mut rewrite = Rewrite::new("follows", &mut out).unwrap();
        for piece in lines.as_bytes().chunks(7) {
            rewrite.piece(piece, &mut out).unwrap();
        }
        rewrite.end(&mut out).unwrap();
        let expected = "kind,userId,targetType,targetId,at\n\
                        follows,1,USER,2,2026-11-20T10:00:00.000001Z\n";
        assert_eq!(String::from_utf8(out).unwrap(), expected);
    }
}
