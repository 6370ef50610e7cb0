//! A Weaviate node double that really stores, searches, backs up and restores, and is never kinder than the real server.
//!
//! It takes the real server's command line and environment, keeps its data on disk, and reads and writes backups in
//! Weaviate's own layout. It is **not** Weaviate: `gitHash` in `/v1/nodes` is `lifeboat-double`, which no real server
//! can report. It has no gRPC: the gRPC port answers every call with UNIMPLEMENTED (`grpc.rs`). What goes wrong on
//! purpose is listed in `knobs.rs`.

mod auth;
mod backup;
mod collection;
mod config;
mod config_file;
mod db;
mod errors;
mod graphql;
mod grpc;
mod http;
mod knobs;
mod mode;
mod names;
mod objects;
mod references;
mod schema;
mod search;
mod shard;
mod store;
mod tenants;
mod times;
mod version;

use std::net::{IpAddr, SocketAddr};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, anyhow};
use clap::Parser;

use crate::backup::Backups;
use crate::config::{Config, Flags};
use crate::db::Db;
use crate::http::access_log::AccessLog;
use crate::http::{App, router};
use crate::mode::ModeSwitch;
use crate::version::GIT_HASH;

/// How long requests in flight may take after SIGTERM.
const GRACE: Duration = Duration::from_secs(2);

#[tokio::main]
async fn main() -> ExitCode {
    match run(Flags::parse()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("lifeboat-node: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn run(flags: Flags) -> anyhow::Result<()> {
    let env = std::env::vars().collect();
    let (config, auth, knobs) = Config::read(&flags, &env).map_err(|error| anyhow!(error))?;
    let (auth, knobs) = (Arc::new(auth), Arc::new(knobs));
    let db = Db::open(&config.data_path, &config.node_name, knobs.segment_bytes)
        .with_context(|| format!("open data path {}", config.data_path.display()))?;
    let db = Arc::new(db);
    let backups = Backups::new(&config, Arc::clone(&db), Arc::clone(&auth), Arc::clone(&knobs));
    let host = if flags.host == "localhost" { "127.0.0.1" } else { flags.host.as_str() };
    let host: IpAddr = host.parse().with_context(|| format!("--host {host}"))?;
    let listener = tokio::net::TcpListener::bind((host, flags.port))
        .await
        .with_context(|| format!("listen on {host}:{}", flags.port))?;
    let address = listener.local_addr()?;
    let grpc =
        grpc::listen(host, grpc::port(std::env::var("GRPC_PORT").ok().as_deref()).map_err(|error| anyhow!(error))?);
    if let Some(grpc) = grpc.await.map_err(|error| anyhow!(error))? {
        eprintln!("lifeboat-node: gRPC is not played; every call is refused at {}", grpc.local_addr()?);
        tokio::spawn(grpc::refuse(grpc));
    }
    let log = knobs.access_log.as_deref().map(AccessLog::open).transpose().context("open access log")?;
    let app = Arc::new(App {
        address,
        mode: ModeSwitch::new(&config.mode),
        knobs: Arc::clone(&knobs),
        db: Arc::clone(&db),
        auth,
        backups: Arc::clone(&backups),
        log,
        rate: http::batch::Rate::default(),
        config,
    });
    if let Some((path, _)) = &app.config.overrides
        && !app.mode.reload(path)
    {
        eprintln!(
            "lifeboat-node: could not create runtime config manager: {} is not read, now or later",
            path.display()
        );
    }
    if app.config.backup.cleanup_unfinished {
        // Before anything is answered: by the time the server is ready, what was unfinished is cancelled.
        backups.sweep().await;
    }
    spawn_overrides(&app);
    spawn_flush(db, knobs.flush_after);
    eprintln!(
        "lifeboat-node: listening on http://{address} as {} playing Weaviate {} ({GIT_HASH}), data in {}",
        app.config.node_name,
        knobs.version.text(),
        app.config.data_path.display()
    );
    let service = router(app).into_make_service_with_connect_info::<SocketAddr>();
    tokio::select! {
        served = axum::serve(listener, service).with_graceful_shutdown(terminated()) => served?,
        () = async { terminated().await; tokio::time::sleep(GRACE).await } => {}
    }
    Ok(())
}

fn spawn_overrides(app: &Arc<App>) {
    let app = Arc::clone(app);
    tokio::spawn(async move {
        let Some((path, every)) = app.config.overrides.clone() else { return };
        // A file that was not there at the start is never read.
        while app.mode.is_watching() {
            tokio::time::sleep(every).await;
            app.mode.reload(&path);
        }
    });
}

fn spawn_flush(db: Arc<Db>, age: Duration) {
    tokio::spawn(async move {
        let every = age.min(Duration::from_secs(1)).max(Duration::from_millis(20));
        loop {
            tokio::time::sleep(every).await;
            db.flush_older(age);
        }
    });
}

/// SIGTERM or SIGINT. A backup that runs is not drained, as in the real server.
async fn terminated() {
    let mut term = match tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate()) {
        Ok(term) => term,
        Err(error) => {
            eprintln!("lifeboat-node: no SIGTERM handler: {error}");
            return std::future::pending().await;
        }
    };
    tokio::select! {
        _ = term.recv() => {}
        _ = tokio::signal::ctrl_c() => {}
    }
}
