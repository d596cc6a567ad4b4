use super::*;

#[test]
fn json_and_yaml_are_one_document() {
    let mut outline = eventful();
    // One of each standing.
    outline.clusters.truncate(5);
    outline.clusters.remove(2);
    outline.clusters.remove(0);
    let text = json(&outline).unwrap();
    let document: Value = serde_json::from_str(&text).unwrap();
    let from_yaml: Value = serde_saphyr::from_str(&yaml(&outline).unwrap()).unwrap();
    assert_eq!(document, from_yaml);
    assert_snapshot!(text, @r#"
    {
      "apiVersion": "multimesh/v1",
      "kind": "MeshPlan",
      "meshId": "shop",
      "istio": "1.31.0",
      "changes": true,
      "needsConsent": true,
      "newRoot": "O=shop, CN=Root CA",
      "summary": {
        "clusters": {
          "total": 3,
          "change": 1,
          "leave": 1,
          "unknown": 1
        },
        "objects": {
          "create": 0,
          "update": 2,
          "adopt": 1,
          "prune": 1
        },
        "links": {
          "add": 1,
          "update": 1,
          "drop": 3
        },
        "certificates": {
          "issue": 0,
          "renew": 1,
          "store": 0
        },
        "deletes": 20,
        "refused": 1
      },
      "clusters": [
        {
          "context": "context-east",
          "cluster": "east",
          "network": "network-east",
          "namespace": "istio-system",
          "server": "https://east.example.com:6443",
          "standing": "member",
          "changes": true,
          "summary": {
            "objects": {
              "create": 0,
              "update": 2,
              "adopt": 1,
              "prune": 1
            },
            "links": {
              "add": 1,
              "update": 1,
              "drop": 1
            },
            "deletes": 0,
            "refused": 1
          },
          "certificate": "renew",
          "objects": [
            {
              "verb": "update",
              "apiVersion": "apps/v1",
              "kind": "Deployment",
              "namespace": "istio-system",
              "name": "istiod",
              "link": null,
              "refusal": "admission webhook \"policy.example.com\" denied the request: replicas must be at least 2 in production",
              "diff": "@@ -6,4 +6,4 @@ data\n   name: istiod\n   namespace: istio-system\n data:\n-  key: old\n+  key: new\n",
              "diffNote": null
            },
            {
              "verb": "update",
              "apiVersion": "v1",
              "kind": "ConfigMap",
              "namespace": "istio-system",
              "name": "istio",
              "link": null,
              "refusal": null,
              "diff": "@@ -6,4 +6,4 @@ data\n   name: istio\n   namespace: istio-system\n data:\n-  key: old\n+  key: new\n",
              "diffNote": null
            },
            {
              "verb": "prune",
              "apiVersion": "v1",
              "kind": "ConfigMap",
              "namespace": "istio-system",
              "name": "istio-canary",
              "link": null,
              "refusal": null,
              "diff": "-apiVersion: v1\n-kind: ConfigMap\n-metadata:\n-  labels:\n-    applyset.kubernetes.io/part-of: set\n-  name: istio-canary\n-  namespace: istio-system\n-data:\n-  key: old\n",
              "diffNote": null
            },
            {
              "verb": "create",
              "apiVersion": "v1",
              "kind": "Secret",
              "namespace": "istio-system",
              "name": "istio-remote-secret-north",
              "link": "north",
              "refusal": null,
              "diff": "+apiVersion: v1\n+kind: Secret\n+metadata:\n+  labels:\n+    applyset.kubernetes.io/part-of: set\n+  name: istio-remote-secret-north\n+  namespace: istio-system\n+data:\n+  key: sha256:11507a0e…\n",
              "diffNote": null
            },
            {
              "verb": "prune",
              "apiVersion": "v1",
              "kind": "Secret",
              "namespace": "istio-system",
              "name": "istio-remote-secret-old",
              "link": "old",
              "refusal": null,
              "diff": "-apiVersion: v1\n-kind: Secret\n-metadata:\n-  labels:\n-    applyset.kubernetes.io/part-of: set\n-  name: istio-remote-secret-old\n-  namespace: istio-system\n-data:\n-  key: sha256:cba06b57…\n",
              "diffNote": null
            },
            {
              "verb": "update",
              "apiVersion": "v1",
              "kind": "Secret",
              "namespace": "istio-system",
              "name": "istio-remote-secret-west",
              "link": "west",
              "refusal": null,
              "diff": "@@ -6,4 +6,4 @@ data\n   name: istio-remote-secret-west\n   namespace: istio-system\n data:\n-  key: sha256:cba06b57…\n+  key: sha256:11507a0e…\n",
              "diffNote": null
            },
            {
              "verb": "adopt",
              "apiVersion": "v1",
              "kind": "ServiceAccount",
              "namespace": "istio-system",
              "name": "istio-reader-service-account",
              "link": null,
              "refusal": null,
              "diff": "@@ -6,4 +6,4 @@ data\n   name: istio-reader-service-account\n   namespace: istio-system\n data:\n-  key: old\n+  key: new\n",
              "diffNote": null
            }
          ],
          "unchanged": 40,
          "leaving": null,
          "reason": null,
          "hints": []
        },
        {
          "context": "context-south",
          "cluster": "south",
          "network": "network-south",
          "namespace": "istio-system",
          "server": "https://south.example.com:6443",
          "standing": "unknown",
          "changes": false,
          "summary": {
            "objects": {
              "create": 0,
              "update": 0,
              "adopt": 0,
              "prune": 0
            },
            "links": {
              "add": 0,
              "update": 0,
              "drop": 0
            },
            "deletes": 0,
            "refused": 0
          },
          "certificate": null,
          "objects": [],
          "unchanged": 0,
          "leaving": null,
          "reason": "`context-south`: the API server at https://south.example.com:6443 refused the connection",
          "hints": [
            "check that it is running: `kubectl --context context-south version`"
          ]
        },
        {
          "context": "context-old",
          "cluster": "old",
          "network": "network-old",
          "namespace": "istio-system",
          "server": "https://old.example.com:6443",
          "standing": "leaver",
          "changes": true,
          "summary": {
            "objects": {
              "create": 0,
              "update": 0,
              "adopt": 0,
              "prune": 0
            },
            "links": {
              "add": 0,
              "update": 0,
              "drop": 2
            },
            "deletes": 20,
            "refused": 0
          },
          "certificate": null,
          "objects": [],
          "unchanged": 0,
          "leaving": {
            "links": [
              "east",
              "west"
            ],
            "revokes": true,
            "removal": {
              "namespace": "delete",
              "deletes": [
                {
                  "apiVersion": "admissionregistration.k8s.io/v1",
                  "kind": "MutatingWebhookConfiguration",
                  "namespace": "istio-system",
                  "name": "w"
                },
                {
                  "apiVersion": "apps/v1",
                  "kind": "Deployment",
                  "namespace": "istio-system",
                  "name": "istio-eastwestgateway"
                },
                {
                  "apiVersion": "apps/v1",
                  "kind": "Deployment",
                  "namespace": "istio-system",
                  "name": "istiod"
                },
                {
                  "apiVersion": "v1",
                  "kind": "ConfigMap",
                  "namespace": "istio-system",
                  "name": "0"
                },
                {
                  "apiVersion": "v1",
                  "kind": "ConfigMap",
                  "namespace": "istio-system",
                  "name": "1"
                },
                {
                  "apiVersion": "v1",
                  "kind": "ConfigMap",
                  "namespace": "istio-system",
                  "name": "2"
                },
                {
                  "apiVersion": "v1",
                  "kind": "ConfigMap",
                  "namespace": "istio-system",
                  "name": "kubectl-multimesh"
                },
                {
                  "apiVersion": "v1",
                  "kind": "HorizontalPodAutoscaler",
                  "namespace": "istio-system",
                  "name": "0"
                },
                {
                  "apiVersion": "v1",
                  "kind": "HorizontalPodAutoscaler",
                  "namespace": "istio-system",
                  "name": "1"
                },
                {
                  "apiVersion": "v1",
                  "kind": "HorizontalPodAutoscaler",
                  "namespace": "istio-system",
                  "name": "2"
                },
                {
                  "apiVersion": "v1",
                  "kind": "Namespace",
                  "namespace": null,
                  "name": "istio-system"
                },
                {
                  "apiVersion": "v1",
                  "kind": "Secret",
                  "namespace": "istio-system",
                  "name": "0"
                },
                {
                  "apiVersion": "v1",
                  "kind": "Secret",
                  "namespace": "istio-system",
                  "name": "1"
                },
                {
                  "apiVersion": "v1",
                  "kind": "Secret",
                  "namespace": "istio-system",
                  "name": "2"
                },
                {
                  "apiVersion": "v1",
                  "kind": "Service",
                  "namespace": "istio-system",
                  "name": "0"
                },
                {
                  "apiVersion": "v1",
                  "kind": "Service",
                  "namespace": "istio-system",
                  "name": "1"
                },
                {
                  "apiVersion": "v1",
                  "kind": "Service",
                  "namespace": "istio-system",
                  "name": "2"
                },
                {
                  "apiVersion": "v1",
                  "kind": "ServiceAccount",
                  "namespace": "istio-system",
                  "name": "0"
                },
                {
                  "apiVersion": "v1",
                  "kind": "ServiceAccount",
                  "namespace": "istio-system",
                  "name": "1"
                },
                {
                  "apiVersion": "v1",
                  "kind": "ServiceAccount",
                  "namespace": "istio-system",
                  "name": "2"
                }
              ],
              "stays": [
                {
                  "group": "",
                  "kind": "CustomResourceDefinition",
                  "namespace": null,
                  "name": "gateways.networking.istio.io",
                  "reason": "inUse"
                }
              ],
              "orphans": {
                "demo": 2
              }
            }
          },
          "reason": null,
          "hints": []
        }
      ]
    }
    "#);
}

#[test]
fn the_order_of_changes_is_no_part_of_the_document() {
    let mut other = eventful();
    for cluster in &mut other.clusters {
        match &mut cluster.standing {
            Standing::Member(changes) => changes.objects.reverse(),
            Standing::Leaver(leaving) => leaving.links.reverse(),
            Standing::Unknown { .. } => {}
        }
    }
    assert_eq!(json(&eventful()).unwrap(), json(&other).unwrap());
}
