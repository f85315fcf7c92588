//! Control: the states of a tenant, what operators may do in each, and what the tenant's keys meet meanwhile.

use crate::fixture::{BorderFixture, START, document, shown, tenant};
use access::{Operator, TenantState};
use engine::{KeyChoice, NewTenant, OnConflict, RotateMode, TenantChange, TenantView};
use kernel::{Error, KeyId, OperationId, OperatorName, Quotas, Role};
use registry::OperationStatus;
use std::time::Duration;

/// An operator's request, about the tenant of the row.
enum Act {
    Create,
    CreateWith(NewTenant),
    Show,
    Update(TenantChange),
    Suspend,
    Resume,
    Erase,
    Rotate(RotateMode, Option<KeyChoice>),
    RevokeUnknownKey,
    /// Ingests a document of this id, as the tenant itself.
    Ingest(&'static str),
}

fn change(rotate_days: u32) -> Act {
    Act::Update(TenantChange { rotate_days: Some(Some(rotate_days)), ..TenantChange::default() })
}

fn with_name(name: &str) -> Act {
    Act::CreateWith(NewTenant { display_name: Some(name.to_owned()), ..NewTenant::named(tenant("other")) })
}

type Row = (&'static str, &'static str, Act, &'static str);

/// Requests of an operator who may do everything.
fn rows() -> Vec<Row> {
    let other_key = KeyChoice { key: Some("other".to_owned()), ..KeyChoice::default() };
    let late = RotateMode::Reencrypt(Some(START));
    let no_documents = Quotas { documents: Some(0), ..Quotas::default() };
    vec![
        ("taken", "acme", Act::Create, "already_exists id"),
        ("never created", "none", Act::Show, "not_found"),
        ("suspended without being created", "none", Act::Suspend, "not_found"),
        ("erased without being created", "none", Act::Erase, "not_found"),
        ("rotated without being created", "none", Act::Rotate(RotateMode::Rewrap, None), "not_found"),
        ("a label that is empty", "other", with_name(""), "invalid_request display_name"),
        ("a label that is too long", "other", with_name(&"x".repeat(257)), "invalid_request display_name"),
        ("what was refused is not created", "other", Act::Show, "not_found"),
        ("created", "other", with_name(&"x".repeat(256)), "active"),
        ("days", "acme", change(3_650), "active"),
        ("no days", "acme", change(0), "invalid_request rotate_days"),
        ("too many days", "acme", change(3_651), "invalid_request rotate_days"),
        ("served", "acme", Act::Ingest("a"), "a indexed"),
        (
            "no room any more",
            "acme",
            Act::Update(TenantChange { quotas: Some(no_documents), ..TenantChange::default() }),
            "active",
        ),
        ("the quota holds from now on", "acme", Act::Ingest("b"), "quota_exceeded quotas.documents"),
        (
            "room again",
            "acme",
            Act::Update(TenantChange { quotas: Some(Quotas::default()), ..TenantChange::default() }),
            "active",
        ),
        ("revoked without being created", "acme", Act::RevokeUnknownKey, "not_found"),
        (
            "another key by re-encryption",
            "acme",
            Act::Rotate(RotateMode::Reencrypt(None), Some(other_key)),
            "invalid_request key",
        ),
        ("too late to begin", "acme", Act::Rotate(late, None), "invalid_request deadline"),
        ("rotated", "acme", Act::Rotate(RotateMode::Rewrap, None), "ended succeeded, epoch 2"),
        ("erased while active", "acme", Act::Erase, "not_suspended"),
        ("suspended", "acme", Act::Suspend, "suspended"),
        ("suspended again", "acme", Act::Suspend, "suspended"),
        ("not served", "acme", Act::Ingest("a"), "tenant_suspended"),
        ("its name is taken", "acme", Act::Create, "already_exists id"),
        ("resumed", "acme", Act::Resume, "active"),
        ("resumed again", "acme", Act::Resume, "active"),
        ("served again", "acme", Act::Ingest("a"), "a unchanged"),
        ("suspended to be erased", "acme", Act::Suspend, "suspended"),
        ("erased", "acme", Act::Erase, "ended succeeded"),
        ("its key is useless", "acme", Act::Ingest("a"), "unauthenticated"),
        ("it is gone", "acme", Act::Show, "not_found"),
        ("erased again", "acme", Act::Erase, "not_found"),
        ("its name is free", "acme", Act::Create, "active"),
        ("its old key stays useless", "acme", Act::Ingest("a"), "unauthenticated"),
    ]
}

fn state(view: &TenantView) -> String {
    match view.state {
        TenantState::Active => "active",
        TenantState::Suspended => "suspended",
        TenantState::KeyUnavailable => "key_unavailable",
        TenantState::Deleting => "deleting",
    }
    .to_owned()
}

/// Waits until an operation has ended.
async fn ended(fixture: &BorderFixture, operator: &Operator, id: OperationId) -> String {
    loop {
        let status = fixture.engine.operation_for(operator, id).unwrap().status;
        if status.ended() {
            return format!("ended {}", if status == OperationStatus::Succeeded { "succeeded" } else { "otherwise" });
        }
        fixture.clock.advance(Duration::from_millis(100));
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

async fn done(fixture: &BorderFixture, operator: &Operator, name: &str, act: Act) -> Result<String, Error> {
    let (engine, id) = (&fixture.engine, tenant(name));
    Ok(match act {
        Act::Create => state(&engine.create_tenant(operator, NewTenant::named(id)).await?),
        Act::CreateWith(new) => state(&engine.create_tenant(operator, new).await?),
        Act::Show => state(&engine.tenant(operator, &id).await?),
        Act::Update(change) => state(&engine.update_tenant(operator, &id, change).await?),
        Act::Suspend => state(&engine.suspend_tenant(operator, &id).await?),
        Act::Resume => state(&engine.resume_tenant(operator, &id).await?),
        Act::Erase => ended(fixture, operator, engine.delete_tenant(operator, &id).await?).await,
        Act::Rotate(mode, key) => {
            let (operation, epoch) = engine.rotate_keys(operator, &id, mode, key).await?;
            format!("{}, epoch {epoch}", ended(fixture, operator, operation).await)
        }
        Act::RevokeUnknownKey => {
            engine.revoke_api_key(operator, &id, &KeyId::parse("aaaaaaaaaaaa").unwrap()).await?;
            "revoked".to_owned()
        }
        Act::Ingest(id) => fixture.ingest("all", "n", vec![document(id, "one")], OnConflict::Overwrite).await,
    })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn control() {
    let fixture = BorderFixture::new().await;
    for (name, of, act, expected) in rows() {
        let result = done(&fixture, &fixture.operator, of, act).await.unwrap_or_else(|error| shown(&error));
        assert_eq!(result, expected, "{name}");
    }
}

/// The roles of operators are checked where a tenant's keys are used, not only by the routes.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn roles_limit_what_an_operator_may_delegate() {
    let fixture = BorderFixture::new().await;
    fixture.engine.suspend_tenant(&fixture.operator, &tenant("small")).await.unwrap();
    let rows = [
        (Role::Viewer, "forbidden", "forbidden"),
        (Role::Auditor, "forbidden", "forbidden"),
        (Role::Keys, "ended succeeded, epoch 2", "forbidden"),
        (Role::Admin, "ended succeeded, epoch 3", "ended succeeded"),
    ];
    for (role, rotated, erased) in rows {
        let name = OperatorName::parse(role.as_str()).unwrap();
        let (_, token) = fixture.engine.create_operator(&fixture.operator, name, role).await.unwrap();
        let request = fixture.engine.request_id();
        let operator = fixture.engine.gate().operator(Some(&token), &[role], request).map_err(|r| r.error).unwrap();
        let result = done(&fixture, &operator, "acme", Act::Rotate(RotateMode::Rewrap, None)).await;
        assert_eq!(result.unwrap_or_else(|error| shown(&error)), rotated, "{}", role.as_str());
        let result = done(&fixture, &operator, "small", Act::Erase).await;
        assert_eq!(result.unwrap_or_else(|error| shown(&error)), erased, "{}", role.as_str());
    }
}
