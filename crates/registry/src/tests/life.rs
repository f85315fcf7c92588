//! Operators, tenants, API keys, namespaces and operations in normal use, across starts.

use super::{DataFolder, ask, name, new_key, now, request, tenant};
use crate::{BegunOperation, NewApiKey, NewTenant, OperationKind, OperationStatus, Registry, TenantChange};
use access::{Browse, Ingest, Manage, Search, TenantState, TokenKind, token};
use kernel::{Code, Embedding, NamespaceSettings, OperatorName, OsEntropy, Quotas, Role, Scope, limits};
use std::{sync::Arc, time::Duration};
use vault::Keyspace;

#[tokio::test]
async fn the_first_start_returns_a_token_once_and_it_stays_valid() {
    let mut data_folder = DataFolder::new();
    let server = data_folder.start().await;
    assert_eq!(server.operator.role(), Role::Admin);
    assert_eq!(server.registry.operators(&server.operator)[0].name.as_str(), "root");
    server.kill().await;
    let (_, opened) = data_folder.open(None).await;
    assert!(opened.unwrap().1.is_none());
}

#[tokio::test]
async fn a_token_of_the_environment_is_adopted_and_replaced() {
    let data_folder = DataFolder::new();
    let tokens: Vec<_> = (0..3).map(|_| token::mint(TokenKind::Operator, &OsEntropy).1).collect();
    for (token, expected) in [
        (Some(&tokens[0]), vec!["root"]),
        (Some(&tokens[0]), vec!["root"]),
        (Some(&tokens[1]), vec!["environment", "root"]),
        (Some(&tokens[2]), vec!["environment", "root"]),
        (None, vec!["environment", "root"]),
    ] {
        let (storage, opened) = data_folder.open(token.map(|t| t.as_str())).await;
        let (registry, fresh) = opened.unwrap();
        assert!(fresh.is_none());
        let gate = access::Gate::new(registry.credentials(), data_folder.clock.clone());
        let operator = gate.operator(Some(token.unwrap_or(&tokens[2])), &[], request()).unwrap();
        let mut names: Vec<_> = registry.operators(&operator).iter().map(|o| o.name.to_string()).collect();
        names.sort();
        assert_eq!(names, expected);
        drop((registry, gate));
        storage.close().await;
    }
    let (_storage, opened) = data_folder.open(None).await;
    let gate = access::Gate::new(opened.unwrap().0.credentials(), data_folder.clock.clone());
    assert!(gate.operator(Some(&tokens[1]), &[], request()).is_err(), "the replaced token opens nothing");
    assert!(gate.operator(Some(&tokens[0]), &[], request()).is_ok());
}

#[tokio::test]
async fn a_malformed_operator_token_is_refused_by_name() {
    let data_folder = DataFolder::new();
    let (_storage, opened) = data_folder.open(Some("rfop_nonsense")).await;
    let error = opened.err().unwrap();
    assert_eq!((error.code, error.param.as_deref()), (Code::InvalidRequest, Some("RINGFENCE_OPERATOR_TOKEN")));
}

#[tokio::test]
async fn the_last_admin_stays_and_a_lost_token_is_recovered() {
    let mut data_folder = DataFolder::new();
    let server = data_folder.start().await;
    let (registry, operator) = (&server.registry, &server.operator);
    let root = registry.operators(operator)[0].id.clone();
    let auditor = OperatorName::parse("eve").unwrap();
    let (view, token) = registry.create_operator(operator, auditor.clone(), Role::Auditor).await.unwrap();
    assert_eq!(registry.create_operator(operator, auditor, Role::Admin).await.err().unwrap().code, Code::AlreadyExists);
    assert_eq!(registry.revoke_operator(operator, &root).await.err().unwrap().code, Code::InvalidRequest);
    assert!(server.gate.operator(Some(&token), &[Role::Auditor], request()).is_ok());
    registry.revoke_operator(operator, &view.id).await.unwrap();
    assert!(server.gate.operator(Some(&token), &[Role::Auditor], request()).is_err());
    assert_eq!(registry.revoke_operator(operator, &view.id).await.err().unwrap().code, Code::NotFound);
    server.kill().await;

    let storage = data_folder.storage().await;
    let token = Registry::recover_operator(
        storage.clone(),
        data_folder.provider(),
        data_folder.clock.clone(),
        super::entropy(),
    )
    .await
    .unwrap();
    storage.close().await;
    drop(storage);
    let server = data_folder.start().await;
    let recovered = server.gate.operator(Some(&token), &[], request()).unwrap();
    assert_eq!(recovered.role(), Role::Admin);
    server.registry.revoke_operator(&recovered, &root).await.unwrap();
}

#[tokio::test]
async fn tenants_are_created_once_listed_changed_and_kept() {
    let mut data_folder = DataFolder::new();
    let server = data_folder.start().await;
    for id in ["c", "a", "b"] {
        server.tenant(id).await;
    }
    let new = NewTenant::named(tenant("a"));
    let error = server.registry.create_tenant(&server.operator, new.clone()).await.err().unwrap();
    assert_eq!((error.code, error.param.as_deref()), (Code::AlreadyExists, Some("id")));
    let long = NewTenant { id: tenant("d"), display_name: Some("x".repeat(limits::LABEL_BYTES_MAX + 1)), ..new };
    let error = server.registry.create_tenant(&server.operator, long).await.err().unwrap();
    assert_eq!(error.param.as_deref(), Some("display_name"));

    let quotas = Quotas { documents: Some(7), ..Quotas::default() };
    let change =
        TenantChange { display_name: Some(Some("Bee".into())), quotas: Some(quotas), ..TenantChange::default() };
    server.registry.update_tenant(&server.operator, &tenant("b"), change).await.unwrap();
    let change = TenantChange { governance_class: Some(Some("gold".into())), ..TenantChange::default() };
    server.registry.update_tenant(&server.operator, &tenant("b"), change).await.unwrap();
    let missing = server.registry.update_tenant(&server.operator, &tenant("z"), TenantChange::default()).await;
    assert_eq!(missing.err().unwrap().code, Code::NotFound);
    server.kill().await;

    let server = data_folder.start().await;
    let (page, next) = server.registry.tenants(&server.operator, None, 2).await;
    assert_eq!(page.iter().map(|t| t.id.to_string()).collect::<Vec<_>>(), ["a", "b"]);
    let (rest, end) = server.registry.tenants(&server.operator, next.as_deref(), 2).await;
    assert_eq!(rest.iter().map(|t| t.id.to_string()).collect::<Vec<_>>(), ["c"]);
    assert!(end.is_none());
    assert_eq!(page[1].display_name.as_deref(), Some("Bee"));
    assert_eq!(page[1].governance_class.as_deref(), Some("gold"));
    assert_eq!(page[1].quotas, quotas);
    assert!(page.iter().all(|t| t.state == TenantState::Active));
}

#[tokio::test]
async fn api_keys_open_until_they_expire_are_revoked_or_the_tenant_is_suspended() {
    let mut data_folder = DataFolder::new();
    let server = data_folder.start().await;
    let id = server.tenant("acme").await;
    let expires_at = Some(now(&data_folder).plus(Duration::from_secs(60)));
    let short_lived = NewApiKey { expires_at, ..new_key("brief") };
    let (_, short_lived) = server.registry.create_key(&server.operator, &id, short_lived).await.unwrap();
    let (lasting_view, lasting) = server.registry.create_key(&server.operator, &id, new_key("lasting")).await.unwrap();
    assert_eq!(lasting_view.scopes, kernel::Scope::DEFAULT);
    server.kill().await;

    let server = data_folder.start().await;
    let code = |key: &str| server.gate.admit::<Search>(Some(key), ask("n")).err().map(|r| r.error.code);
    assert_eq!((code(&short_lived), code(&lasting)), (None, None));
    data_folder.clock.advance(Duration::from_secs(61));
    assert_eq!(code(&short_lived), Some(Code::Unauthenticated));
    let past = NewApiKey { expires_at, ..new_key("past") };
    let error = server.registry.create_key(&server.operator, &id, past).await.err().unwrap();
    assert_eq!(error.param.as_deref(), Some("expires_at"));

    server.registry.suspend(&server.operator, &id).await.unwrap();
    assert_eq!(code(&lasting), Some(Code::TenantSuspended));
    server.registry.resume(&server.operator, &id).await.unwrap();
    assert_eq!(code(&lasting), None);
    server.registry.revoke_key(&server.operator, &id, &lasting_view.id).await.unwrap();
    assert_eq!(code(&lasting), Some(Code::Unauthenticated));
    let again = server.registry.revoke_key(&server.operator, &id, &lasting_view.id).await;
    assert_eq!(again.err().unwrap().code, Code::NotFound);
    let (keys, _) = server.registry.keys(&server.operator, &id, None, 10).await.unwrap();
    assert_eq!(keys.iter().map(|k| &*k.name).collect::<Vec<_>>(), ["brief"]);
}

#[tokio::test]
async fn namespaces_are_made_once_within_the_quota_and_kept() {
    let mut data_folder = DataFolder::new();
    let server = data_folder.start().await;
    let id = server.tenant("acme").await;
    let key = server.key(&id).await;
    let ingest = server.grant::<Ingest>(&key, "one");
    let (first, made) = server.registry.ensure_namespace(&ingest, NamespaceSettings::default()).await.unwrap();
    let (second, again) = server.registry.ensure_namespace(&ingest, NamespaceSettings::default()).await.unwrap();
    assert!(made && !again);
    assert_eq!(first.uuid, second.uuid);

    let quotas = Quotas { namespaces: Some(1), ..Quotas::default() };
    let change = TenantChange { quotas: Some(quotas), ..TenantChange::default() };
    server.registry.update_tenant(&server.operator, &id, change).await.unwrap();
    let other = server.grant::<Manage>(&key, "two");
    let error = server.registry.put_namespace(&other, NamespaceSettings::default()).await.err().unwrap();
    assert_eq!(error.code, Code::QuotaExceeded);
    let settings = NamespaceSettings { require_readers: true, ..NamespaceSettings::default() };
    let grant = server.grant::<Manage>(&key, "one");
    server.registry.put_namespace(&grant, settings.clone()).await.unwrap();
    drop((ingest, grant, other));
    server.kill().await;

    let server = data_folder.start().await;
    let incarnation = server.registry.tenant(&server.operator, &id).await.unwrap().incarnation;
    let kept = server.registry.namespace(incarnation, &name("one")).unwrap();
    assert_eq!((kept.uuid, kept.settings, kept.created_at), (first.uuid, settings, first.created_at));
    assert!(server.registry.namespace(incarnation, &name("two")).is_none());
}

#[tokio::test]
async fn of_two_first_documents_one_decides_where_vectors_come_from() {
    let mut data_folder = DataFolder::new();
    let server = data_folder.start().await;
    let id = server.tenant("acme").await;
    let key = server.key(&id).await;
    server.namespace(&key, "n").await;
    let grant = server.grant::<Ingest>(&key, "n");
    let (a, b) = tokio::join!(
        server.registry.fix_embedding(&grant, Embedding::Own { dimensions: 8 }),
        server.registry.fix_embedding(&grant, Embedding::Own { dimensions: 9 }),
    );
    assert_eq!(a.unwrap().settings.embedding, b.unwrap().settings.embedding);
    let text_only = server.grant::<Ingest>(&key, "t");
    server.registry.ensure_namespace(&text_only, NamespaceSettings::default()).await.unwrap();
    let fixed = server.registry.fix_embedding(&text_only, Embedding::Own { dimensions: 0 }).await.unwrap();
    assert_eq!(fixed.settings.embedding, Embedding::Own { dimensions: 0 });
}

#[tokio::test]
async fn a_list_shows_only_what_the_key_may_use() {
    let mut data_folder = DataFolder::new();
    let server = data_folder.start().await;
    let id = server.tenant("acme").await;
    let key = server.key(&id).await;
    for n in ["c", "a", "b"] {
        server.namespace(&key, n).await;
    }
    let narrow = NewApiKey { namespaces: vec![name("b")], ..new_key("narrow") };
    let (_, narrow) = server.registry.create_key(&server.operator, &id, narrow).await.unwrap();
    let whole = |key: &str| {
        let ask = access::RequestInfo {
            namespace: None,
            request: request(),
            trace: None,
            cancel: kernel::CancelFlag::default(),
        };
        server.gate.admit::<Browse>(Some(key), ask).unwrap()
    };
    let names = |grant: &access::Grant<Browse>, after: Option<&str>, limit| {
        let (page, next) = server.registry.namespaces(grant, after, limit).unwrap();
        (page.iter().map(|n| n.name.as_str().to_owned()).collect::<Vec<_>>(), next)
    };
    assert_eq!(names(&whole(&key), None, 2), (vec!["a".into(), "b".into()], Some("b".into())));
    assert_eq!(names(&whole(&key), Some("b"), 2), (vec!["c".into()], None));
    assert_eq!(names(&whole(&narrow), None, 10), (vec!["b".into()], None));
    assert_eq!(server.registry.namespace_count(whole(&narrow).incarnation()), 3);
}

#[tokio::test]
async fn keyspaces_are_opened_once_and_a_dropped_namespaces_key_is_gone() {
    let mut data_folder = DataFolder::new();
    let server = data_folder.start().await;
    let id = server.tenant("acme").await;
    let key = server.key(&id).await;
    let first = server.namespace(&key, "n").await;
    let grant = server.grant::<Manage>(&key, "n");
    let directory = server.registry.directory();
    let keyspace = Keyspace::enter(&grant, &*directory).unwrap();
    assert!(Arc::ptr_eq(&keyspace, &Keyspace::enter(&grant, &*directory).unwrap()));
    let orphans = data_folder.data().join("data").join(keyspace.prefix());
    std::fs::create_dir_all(&orphans).unwrap();

    server.registry.drop_namespace(&grant).await.unwrap();
    assert_eq!(Keyspace::enter(&grant, &*directory).err().unwrap().code, Code::NotFound);
    assert_eq!(server.registry.drop_namespace(&grant).await.err().unwrap().code, Code::NotFound);
    let second = server.namespace(&key, "n").await;
    assert_ne!(first.uuid, second.uuid);
    drop((directory, grant));
    server.kill().await;
    let server = data_folder.start().await;
    assert!(!orphans.exists(), "what the store did not remove is removed when the directory is opened next");
    assert!(Keyspace::enter(&server.grant::<Manage>(&key, "n"), &*server.registry.directory()).is_ok());
}

#[tokio::test]
async fn an_operation_is_for_the_key_that_began_it_and_for_keys_that_see_all() {
    let mut data_folder = DataFolder::new();
    let mut server = data_folder.start().await;
    let (id, other) = (server.tenant("acme").await, server.tenant("other").await);
    let key = async |tenant, scopes: &[Scope], namespaces: &[&str]| {
        let namespaces = namespaces.iter().map(|n| name(n)).collect();
        let new = NewApiKey { scopes: scopes.to_vec(), namespaces, ..new_key("k") };
        server.registry.create_key(&server.operator, tenant, new).await.unwrap().1
    };
    let all_but = |scope| Scope::ALL.iter().copied().filter(|s| *s != scope).collect::<Vec<_>>();
    let ingests = key(&id, &[Scope::Ingest], &[]).await;
    let fenced = key(&id, &[Scope::Ingest], &["n"]).await;
    let sees = key(&id, &[Scope::ReadAll], &[]).await;
    let blind = [
        key(&id, &all_but(Scope::ReadAll), &[]).await,
        key(&id, Scope::ALL, &["n"]).await,
        key(&other, Scope::ALL, &[]).await,
    ];
    let own = async |key: &str| {
        let grant = server.grant::<Ingest>(key, "n");
        let Ok(BegunOperation::Fresh(own)) = server.registry.begin_own_operation(&grant, OperationKind::Ingest).await
        else {
            panic!("each one is new")
        };
        own.id()
    };
    let (first, second) = (own(&ingests).await, own(&fenced).await);
    let rotation = match server.registry.begin_operation(&id, OperationKind::RotateKey).await {
        Ok(BegunOperation::Fresh(rotation)) => rotation.id(),
        _ => panic!("none runs"),
    };
    for restarted in [false, true] {
        let shown = |key: &str, id| server.registry.operation_of(&server.grant(key, "n"), id).is_some();
        assert_eq!([first, second, rotation].map(|id| shown(&ingests, id)), [true, false, false], "{restarted}");
        assert_eq!([first, second, rotation].map(|id| shown(&fenced, id)), [false, true, false], "{restarted}");
        assert!([first, second, rotation].iter().all(|id| shown(&sees, *id)), "{restarted}");
        assert!(!blind.iter().any(|key| [first, second, rotation].iter().any(|id| shown(key, *id))), "{restarted}");
        if !restarted {
            server.kill().await;
            server = data_folder.start().await;
        }
    }
}

#[tokio::test]
async fn operations_are_resumed_or_failed_after_a_stop() {
    let mut data_folder = DataFolder::new();
    let server = data_folder.start().await;
    let (id, other) = (server.tenant("acme").await, server.tenant("other").await);
    let begin = |kind| server.registry.begin_operation(&id, kind);
    let BegunOperation::Fresh(rotation) = begin(OperationKind::RotateKey).await.unwrap() else { panic!("none runs") };
    let BegunOperation::Running(same) = begin(OperationKind::RotateKey).await.unwrap() else { panic!("one runs") };
    assert_eq!(rotation.id(), same.id);
    assert_eq!(begin(OperationKind::EraseTenant).await.err().unwrap().code, Code::NotSuspended);
    let BegunOperation::Fresh(ingest) = begin(OperationKind::Ingest).await.unwrap() else { panic!("each one is new") };
    ingest.progress(3, 9);
    let view = server.registry.operation(&server.operator, ingest.id()).unwrap();
    assert_eq!((view.status, view.progress.done, view.progress.total), (OperationStatus::Running, 3, 9));
    server.registry.cancel(&server.operator, ingest.id()).unwrap();
    assert!(ingest.cancelled());
    let stranger = server.key(&other).await;
    assert!(server.registry.operation_of(&server.grant(&stranger, "n"), ingest.id()).is_none());
    let (rotation_id, ingest_id) = (rotation.id(), ingest.id());
    drop((rotation, ingest));
    server.kill().await;

    let server = data_folder.start().await;
    let failed = server.registry.operation(&server.operator, ingest_id).unwrap();
    assert_eq!(failed.status, OperationStatus::Failed);
    assert!(failed.error.unwrap().message.contains("the server stopped"));
    let mut unfinished = server.registry.unfinished_operations();
    assert_eq!(unfinished.iter().map(crate::OperationHandle::id).collect::<Vec<_>>(), [rotation_id]);
    assert!(server.registry.unfinished_operations().is_empty(), "each is handed out once");
    unfinished.remove(0).succeed(serde_json::json!({"epoch": 2})).await;
    let done = server.registry.operation(&server.operator, rotation_id).unwrap();
    assert_eq!((done.status, done.result), (OperationStatus::Succeeded, Some(serde_json::json!({"epoch": 2}))));
    let (newest, _) = server.registry.operations(&server.operator, None, 1).unwrap();
    assert_eq!(newest[0].id, ingest_id);
}
