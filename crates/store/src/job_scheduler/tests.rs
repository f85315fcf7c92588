use super::*;
use futures::poll;
use kernel::SeededEntropy;

fn tenants() -> [Incarnation; 2] {
    let entropy = SeededEntropy::new(3);
    [Incarnation::random(&entropy), Incarnation::random(&entropy)]
}

#[tokio::test]
async fn a_busy_tenant_delays_another_by_one_job() {
    let [busy, quiet] = tenants();
    let schedule = JobScheduler::new(1, 100);
    let first = schedule.acquire(busy, 10).await;
    let mut waiting_jobs: Vec<_> = (0..50).map(|_| Box::pin(schedule.acquire(busy, 10))).collect();
    for job in &mut waiting_jobs {
        assert!(poll!(job.as_mut()).is_pending());
    }
    let mut late = Box::pin(schedule.acquire(quiet, 10));
    assert!(poll!(late.as_mut()).is_pending());
    assert_eq!(schedule.load(), SchedulerLoad { running: 1, waiting: 51, bytes: 10 });
    drop(first);
    assert!(poll!(waiting_jobs[0].as_mut()).is_pending(), "it is the other's turn");
    let permit = late.await;
    drop(permit);
    // Within a tenant, in the order in which they came.
    for job in waiting_jobs {
        drop(job.await);
    }
    assert_eq!(schedule.load(), SchedulerLoad::default());
    assert!(schedule.state().served.is_empty(), "nothing is remembered of who does not wait");
}

#[tokio::test]
async fn tenants_take_turns() {
    let [one, other] = tenants();
    let schedule = JobScheduler::new(1, 100);
    let first = schedule.acquire(one, 1).await;
    let order = Mutex::new(Vec::new());
    let job = |tenant, name: &'static str| {
        let (schedule, order) = (schedule.clone(), &order);
        async move {
            let _permit = schedule.acquire(tenant, 1).await;
            order.lock().push(name);
        }
    };
    let jobs = [job(one, "a"), job(one, "b"), job(one, "c"), job(other, "x"), job(other, "y")];
    let all = futures::future::join_all(jobs);
    let release = async { drop(first) };
    futures::future::join(all, release).await;
    assert_eq!(*order.lock(), ["x", "a", "y", "b", "c"]);
}

#[tokio::test]
async fn memory_is_shared_and_a_job_beyond_it_runs_alone() {
    let [tenant, other] = tenants();
    let schedule = JobScheduler::new(8, 100);
    let small = schedule.acquire(tenant, 60).await;
    let mut huge = Box::pin(schedule.acquire(other, 1_000));
    assert!(poll!(huge.as_mut()).is_pending());
    let mut following = Box::pin(schedule.acquire(tenant, 10));
    assert!(poll!(following.as_mut()).is_pending(), "who is next is not overtaken");
    drop(small);
    let huge = huge.await;
    assert!(poll!(following.as_mut()).is_pending());
    drop(huge);
    drop(following.await);
}

#[tokio::test]
async fn a_caller_that_stops_waiting_is_skipped() {
    let [tenant, _] = tenants();
    let schedule = JobScheduler::new(1, 100);
    let first = schedule.acquire(tenant, 1).await;
    let mut abandoned = Box::pin(schedule.acquire(tenant, 1));
    assert!(poll!(abandoned.as_mut()).is_pending());
    let mut waits = Box::pin(schedule.acquire(tenant, 1));
    assert!(poll!(waits.as_mut()).is_pending());
    drop(abandoned);
    drop(first);
    drop(waits.await);
    assert_eq!(schedule.load(), SchedulerLoad::default());
}

/// Permits that came back from callers who had gone were once served within each other, which ended the process.
#[tokio::test]
async fn any_number_of_callers_may_go_away() {
    let [busy, quiet] = tenants();
    let schedule = JobScheduler::new(1, 100);
    let first = schedule.acquire(busy, 1).await;
    let mut gone: Vec<_> = (0..100_000).map(|_| Box::pin(schedule.acquire(busy, 1))).collect();
    for job in &mut gone {
        assert!(poll!(job.as_mut()).is_pending());
    }
    drop(gone);
    let mut next = Box::pin(schedule.acquire(quiet, 1));
    assert!(poll!(next.as_mut()).is_pending());
    drop(first);
    drop(next.await);
    assert_eq!(schedule.load(), SchedulerLoad::default(), "they are skipped");
}
