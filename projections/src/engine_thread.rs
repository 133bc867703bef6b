//! The thread that the engine lives on.

use store::Position;
use tokio::sync::{mpsc, oneshot};

use crate::{
    Build,
    engine::Engine,
    views::{ViewError, Views},
};

type Job = Box<dyn FnOnce(&mut Engine) + Send>;

/// The engine's thread. It ends when this is dropped.
pub(crate) struct EngineThread(mpsc::Sender<Job>);

impl EngineThread {
    pub(crate) async fn start(views: Views, head: Position, stood: Vec<Build>) -> Result<EngineThread, ViewError> {
        let (sender, mut jobs) = mpsc::channel::<Job>(4);
        let (opened, answer) = oneshot::channel();
        let work = move || match Engine::open(views, head, &stood) {
            Ok(mut engine) => {
                let _ = opened.send(Ok(()));
                while let Some(job) = jobs.blocking_recv() {
                    job(&mut engine);
                }
                engine.let_go();
            }
            Err(error) => {
                let _ = opened.send(Err(error));
            }
        };
        let thread = std::thread::Builder::new().name("tiffin-views".into()).spawn(work);
        thread.map_err(|error| ViewError::Unusable(format!("no thread for the views: {error}")))?;
        answer.await.map_err(|_| ViewError::Stopped)??;
        Ok(EngineThread(sender))
    }

    /// Runs `job` on the engine's thread. Once handed over, it runs to its end.
    pub(crate) async fn call<T: Send + 'static>(
        &self,
        job: impl FnOnce(&mut Engine) -> T + Send + 'static,
    ) -> Result<T, ViewError> {
        let (done, answer) = oneshot::channel();
        let job: Job = Box::new(move |engine| {
            let _ = done.send(job(engine));
        });
        self.0.send(job).await.map_err(|_| ViewError::Stopped)?;
        answer.await.map_err(|_| ViewError::Stopped)
    }
}
