using System.CommandLine;
using System.Formats.Tar;
using System.Globalization;
using System.Text;
using System.Text.Json;
using System.Text.RegularExpressions;
using Slipway.Client;
using Slipway.Contracts;
using Slipway.Contracts.Registry;
using Slipway.Contracts.Serving;
using Slipway.Native.Onnx;
using Spectre.Console;

namespace Slipway.Cli.Commands;

/// <summary><c>slipway export</c>: a version as a folder that runs elsewhere, and what Kubernetes, compose and systemd need to run it.</summary>
internal static partial class ExportCommand
{
    public static Command Create(ConnectionOptions connection)
    {
        var model = new Argument<string>("model");
        var version = new Argument<string>("version") { DefaultValueFactory = _ => "production", Description = "A version, number, stage or alias." };
        var target = new Option<string>("--to") { Required = true, Description = "A folder that is not there yet, or a file that ends in .tar." };
        var image = new Option<string>("--image") { DefaultValueFactory = _ => $"slipway:{OwnVersion}", Description = "The image that the manifests start, with slipway as its program." };
        var least = new Option<int?>("--min-replicas") { Description = "What the model's scaling policy says, and 2 where it has none." };
        var most = new Option<int?>("--max-replicas") { Description = "What the model's scaling policy says, and 6 where it does not." };
        var depth = new Option<int?>("--queue-target") { Description = "Requests that may wait in each replica before another one is started: 8, where no scaling policy has a target." };
        var command = new Command("export", "Write a version with all that it takes to run it elsewhere.") { model, version, target, image, least, most, depth };
        command.SetAction(async (args, ct) =>
        {
            var to = Path.GetFullPath(args.GetRequiredValue(target));
            var isTar = to.EndsWith(".tar", StringComparison.OrdinalIgnoreCase);
            if (Directory.Exists(to) || File.Exists(to))
            {
                throw new SlipwayException(ErrorCode.InvalidArgument, $"--to '{to}' is there already; name one that is not, so that nothing is mixed up.");
            }

            using var client = connection.Connect(args);
            var deployment = await client.GetAsync<DeploymentReport>($"deployments/{Uri.EscapeDataString(args.GetRequiredValue(model))}", ct);
            var scaling = Scaling.Of(args.GetValue(least), args.GetValue(most), args.GetValue(depth), deployment.Scaling);
            if (scaling.Least < 1 || scaling.Most < scaling.Least || scaling.Target < 1)
            {
                throw new SlipwayException(ErrorCode.InvalidArgument, "--min-replicas must be at least 1, --max-replicas no fewer, and --queue-target at least 1.");
            }

            // Beside the target and moved there at the end: half an export is never taken for a whole one.
            var half = Directory.CreateDirectory($"{to}.part-{Guid.NewGuid():N}").FullName;
            try
            {
                var written = await WriteAsync(client, args.GetRequiredValue(model), args.GetRequiredValue(version), half, args.GetRequiredValue(image), deployment.Serving, scaling, ct);
                if (isTar)
                {
                    await TarFile.CreateFromDirectoryAsync(half, $"{half}.tar", includeBaseDirectory: false, ct);
                    File.Move($"{half}.tar", to);
                }
                else
                {
                    Directory.Move(half, to);
                }

                return connection.Print(args, new { to, written.Model, written.Version, written.Files }, console =>
                {
                    console.WriteLine($"{written.Model} {written.Version} is in {to}: {written.Files.Count} files.");
                    console.WriteLine($"Try it: slipway server --data /tmp/{written.Name} --model-repository {(isTar ? "<unpacked>" : to)}/models");
                });
            }
            finally
            {
                File.Delete($"{half}.tar");
                if (Directory.Exists(half))
                {
                    Directory.Delete(half, recursive: true);
                }
            }
        });
        return command;
    }

    private static string OwnVersion => typeof(ExportCommand).Assembly.GetName().Version!.ToString(3);

    private static async Task<Exported> WriteAsync(SlipwayClient client, string model, string reference, string folder, string image, string? serving, Scaling scaling, CancellationToken ct)
    {
        var passport = await client.GetAsync<VersionPassport>($"models/{Uri.EscapeDataString(model)}/versions/{Uri.EscapeDataString(reference)}/passport", ct);
        var version = passport.Version;
        var served = version.ServedSha256 ?? throw new SlipwayException(
            ErrorCode.FailedPrecondition, $"{model} {version.Version} holds no model file that Slipway can run; register an ONNX export of it.");
        if (version.Format is ModelFormat.Remote or ModelFormat.Chain)
        {
            throw new SlipwayException(ErrorCode.FailedPrecondition,
                $"{model} {version.Version} {(version.Format == ModelFormat.Remote ? "runs on another server, which its file names: deploy that one" : "joins other versions: export each of them, and register the chain where they are registered")}.");
        }

        var name = KubernetesName(model);
        var versionFolder = Path.Combine(folder, "models", name, "1");
        Directory.CreateDirectory(versionFolder);
        var file = Path.Combine(versionFolder, "model.onnx");
        await using (var content = File.Create(file))
        {
            await client.DownloadBlobAsync(model, version.Version, served, content, ct);
        }

        if (version.EnvironmentSha256 is { } environment)
        {
            await using var content = File.Create(Path.Combine(folder, "environment.txt"));
            await client.DownloadBlobAsync(model, version.Version, environment, content, ct);
        }

        await File.WriteAllTextAsync(Path.Combine(folder, "models", name, "config.pbtxt"), $"name: \"{name}\"\nbackend: \"onnxruntime\"\n", ct);
        // As it was applied: the folder it lies in names the model.
        if (serving is not null)
        {
            await File.WriteAllTextAsync(Path.Combine(folder, "models", name, "serving.yaml"), serving, ct);
        }

        await File.WriteAllTextAsync(Path.Combine(folder, "passport.json"), JsonSerializer.Serialize(passport, Readable), ct);
        var example = Example(file);
        await File.WriteAllTextAsync(Path.Combine(folder, "example-request.json"), example, ct);
        var kubernetes = Directory.CreateDirectory(Path.Combine(folder, "kubernetes")).FullName;
        foreach (var (path, text) in new[]
        {
            (Path.Combine(kubernetes, "slipway.yaml"), Kubernetes(name, model, version.Version, image, scaling, serving is not null)),
            (Path.Combine(folder, "docker-compose.yaml"), Compose(name, image)),
            (Path.Combine(folder, $"slipway-{name}.service"), Systemd(name, model, version.Version)),
            (Path.Combine(folder, "README.md"), Readme(name, model, version, scaling)),
        })
        {
            await File.WriteAllTextAsync(path, text, ct);
        }

        var files = Directory.EnumerateFiles(folder, "*", SearchOption.AllDirectories).Order(StringComparer.Ordinal).Select(path => Path.GetRelativePath(folder, path)).ToList();
        var sums = new StringBuilder();
        foreach (var path in files)
        {
            await using var content = File.OpenRead(Path.Combine(folder, path));
            sums.Append(CultureInfo.InvariantCulture, $"{Convert.ToHexStringLower(await System.Security.Cryptography.SHA256.HashDataAsync(content, ct))}  {path}\n");
        }

        await File.WriteAllTextAsync(Path.Combine(folder, "SHA256SUMS"), sums.ToString(), ct);
        return new Exported(model, version.Version, name, [.. files, "SHA256SUMS"]);
    }

    private static readonly JsonSerializerOptions Readable = new(JsonDefaults.Options) { WriteIndented = true };

    // A request of zeros and empty texts, of one row: it says the form, not the values.
    private static string Example(string file)
    {
        using var session = OnnxSession.Load(file);
        var inputs = session.Inputs.Select(input =>
        {
            long[] shape = [.. input.Shape.Select(size => size < 0 ? 1 : size)];
            var count = (int)shape.Aggregate(1L, (product, size) => Math.Min(product * size, 4096));
            object zero = input.ElementType switch { OnnxElementType.String => "", OnnxElementType.Bool => false, _ => 0 };
            return new { name = input.Name, shape, datatype = Datatype(input.ElementType), data = Enumerable.Repeat(zero, count) };
        });
        return JsonSerializer.Serialize(new { inputs }, Readable);
    }

    private static string Datatype(OnnxElementType type) => type switch
    {
        OnnxElementType.Float => "FP32",
        OnnxElementType.Double => "FP64",
        OnnxElementType.String => "BYTES",
        _ => type.ToString().ToUpperInvariant(),
    };

    // Names of Kubernetes are labels of DNS.
    private static string KubernetesName(string model)
    {
        var name = OtherThanLabel().Replace(model.ToLowerInvariant(), "-").Trim('-');
        name = (name.Length > 50 ? name[..50] : name).Trim('-');
        return name.Length > 0 ? name : "model";
    }

    private static string Kubernetes(string name, string model, string version, string image, Scaling scaling, bool hasServing) =>
        $$$"""
        # {{{model}}} {{{version}}}. Before the first time:
        #   kubectl create configmap {{{name}}}-config --from-file=config.pbtxt=models/{{{name}}}/config.pbtxt{{{(hasServing ? $" --from-file=serving.yaml=models/{name}/serving.yaml" : "")}}}
        #   kubectl create configmap {{{name}}}-model --from-file=model.onnx=models/{{{name}}}/1/model.onnx      (up to 1 MiB; mount a volume for more)
        #   kubectl create secret generic {{{name}}}-slipway --from-literal=database=postgresql://...          (users and keys, shared by all replicas)
        apiVersion: apps/v1
        kind: Deployment
        metadata:
          name: {{{name}}}
          labels: {app: {{{name}}}}
          annotations: {slipway/model: {{{JsonSerializer.Serialize(model)}}}, slipway/version: "{{{version}}}"}
        spec:
          replicas: {{{scaling.Least}}}
          selector:
            matchLabels: {app: {{{name}}}}
          strategy:
            rollingUpdate: {maxUnavailable: 0, maxSurge: 1}
          template:
            metadata:
              labels: {app: {{{name}}}}
              annotations: {prometheus.io/scrape: "true", prometheus.io/port: "5000", prometheus.io/path: /metrics}
            spec:
              # On SIGTERM the server takes no new requests and answers those it has.
              terminationGracePeriodSeconds: 30
              securityContext: {runAsNonRoot: true, runAsUser: 10001, fsGroup: 10001, seccompProfile: {type: RuntimeDefault}}
              containers:
                - name: slipway
                  image: {{{JsonSerializer.Serialize(image)}}}
                  args: [server, --host, 0.0.0.0, --port, "5000", --grpc-port, "5001", --data, /data, --model-repository, /models]
                  env:
                    - name: SLIPWAY_DATABASE
                      valueFrom: {secretKeyRef: {name: {{{name}}}-slipway, key: database}}
                  ports:
                    - {name: http, containerPort: 5000}
                    - {name: grpc, containerPort: 5001}
                  # Ready only once the model is loaded and has run: no request meets a cold replica.
                  startupProbe: {httpGet: {path: /v2/health/ready, port: http}, periodSeconds: 1, failureThreshold: 60}
                  readinessProbe: {httpGet: {path: /v2/health/ready, port: http}, periodSeconds: 5}
                  livenessProbe: {httpGet: {path: /v2/health/live, port: http}, periodSeconds: 10, failureThreshold: 3}
                  resources:
                    requests: {cpu: "1", memory: 256Mi}
                    limits: {memory: 1Gi}
                  securityContext: {allowPrivilegeEscalation: false, readOnlyRootFilesystem: true, capabilities: {drop: [ALL]}}
                  volumeMounts:
                    - {name: data, mountPath: /data}
                    - {name: tmp, mountPath: /tmp}
                    - {name: config, mountPath: /models/{{{name}}}/config.pbtxt, subPath: config.pbtxt}{{{(hasServing ? $"\n            - {{name: config, mountPath: /models/{name}/serving.yaml, subPath: serving.yaml}}" : "")}}}
                    - {name: model, mountPath: /models/{{{name}}}/1}
              volumes:
                - {name: data, emptyDir: {}}
                - {name: tmp, emptyDir: {}}
                - {name: config, configMap: {name: {{{name}}}-config}}
                - {name: model, configMap: {name: {{{name}}}-model}}
        ---
        apiVersion: v1
        kind: Service
        metadata:
          name: {{{name}}}
        spec:
          selector: {app: {{{name}}}}
          ports:
            - {name: http, port: 5000, targetPort: http}
            - {name: grpc, port: 5001, targetPort: grpc}
        ---
        # Needs an adapter that brings {{{scaling.Metric}}} from Prometheus to the metrics API.{{{scaling.Note}}}
        apiVersion: autoscaling/v2
        kind: HorizontalPodAutoscaler
        metadata:
          name: {{{name}}}
        spec:
          scaleTargetRef: {apiVersion: apps/v1, kind: Deployment, name: {{{name}}}}
          minReplicas: {{{scaling.Least}}}
          maxReplicas: {{{scaling.Most}}}
          metrics:
            - type: Pods
              pods:
                metric: {name: {{{scaling.Metric}}}}
                target: {type: AverageValue, averageValue: "{{{scaling.Target}}}"}
          behavior:
            scaleDown: {stabilizationWindowSeconds: 300}
        ---
        apiVersion: policy/v1
        kind: PodDisruptionBudget
        metadata:
          name: {{{name}}}
        spec:
          {{{(scaling.Least > 1 ? "minAvailable: 1" : "maxUnavailable: 1")}}}
          selector:
            matchLabels: {app: {{{name}}}}

        """;

    private static string Compose(string name, string image) =>
        $$"""
        services:
          {{name}}:
            image: {{JsonSerializer.Serialize(image)}}
            command: [server, --host, 0.0.0.0, --port, "5000", --grpc-port, "5001", --data, /data, --model-repository, /models]
            ports: ["127.0.0.1:5000:5000", "127.0.0.1:5001:5001"]
            volumes: ["./models:/models:ro", "data:/data"]
            read_only: true
            tmpfs: [/tmp]
            stop_grace_period: 30s
            restart: unless-stopped
        volumes:
          data: {}

        """;

    private static string Systemd(string name, string model, string version) =>
        $"""
        # Install: copy this folder to /opt/{name}, slipway to /opt/slipway, this file to /etc/systemd/system, then: systemctl enable --now slipway-{name}
        [Unit]
        Description=Slipway serving {model} {version}
        After=network-online.target
        Wants=network-online.target

        [Service]
        ExecStart=/opt/slipway/slipway server --data /var/lib/slipway-{name} --model-repository /opt/{name}/models
        DynamicUser=true
        StateDirectory=slipway-{name}
        ProtectSystem=strict
        ProtectHome=true
        NoNewPrivileges=true
        Restart=on-failure
        TimeoutStopSec=30

        [Install]
        WantedBy=multi-user.target

        """;

    private static string Readme(string name, string model, ModelVersionRecord version, Scaling scaling)
    {
        var completed = version.FeatureSchema.Service is { Length: > 0 } service
            ? $": features in the order of `passport.json`, as there is no feature store to complete the inputs of `{service}`" : "";
        return $"""
        # {model} {version.Version}

        Exported from a Slipway registry. `passport.json` is the version's record there: signature, features, data, code, evaluation, approvals.

        ## Verify

        ```sh
        sha256sum -c SHA256SUMS
        ```

        ## Run

        ```sh
        slipway server --data ./data --model-repository ./models
        curl -s http://127.0.0.1:5000/v2/models/{name}/infer -H 'Content-Type: application/json' --data @example-request.json
        ```

        Any server of the Open Inference Protocol that reads Triton's layout runs `models` as well. It takes the model's own input{completed}.

        `models/{name}` may hold `serving.yaml`: what was declared for the model's queue, batches, kept answers and log, which Slipway reads and others leave alone.

        - `kubernetes/slipway.yaml`: {scaling.Least} to {scaling.Most} replicas, one more for every {scaling.Target} requests that {(scaling.CountsRuns ? "run or wait" : "wait")} in each; its first lines say what to create before
        - `docker-compose.yaml`, `slipway-{name}.service`: the same on one machine

        ## Roll back

        Put the folder of the version before in this one's place and start the server again; or, in a cluster:

        ```sh
        kubectl rollout undo deployment/{name}
        ```

        """;
    }

    [GeneratedRegex("[^a-z0-9]+")]
    private static partial Regex OtherThanLabel();

    // What the command line says goes before what the model's policy says.
    private sealed record Scaling(int Least, int Most, int Target, bool CountsRuns, bool ToZero)
    {
        public string Metric => CountsRuns ? "slipway_serving_concurrency" : "slipway_serving_queue_depth";

        public string Note => ToZero
            ? "\n# The model's policy has min: 0. A HorizontalPodAutoscaler does not go below 1 replica: the last one stays, and gives the model's memory back."
            : "";

        public static Scaling Of(int? least, int? most, int? queueTarget, ScalingReport? policy)
        {
            var min = least ?? (policy is null ? 2 : Math.Max(1, policy.Min));
            return new Scaling(
                min, most ?? policy?.Max ?? (least is null ? Math.Max(6, min) : 6), queueTarget ?? policy?.Target ?? 8, queueTarget is null && policy?.Target is not null, least is null && policy is { Min: 0 });
        }
    }

    private sealed record Exported(string Model, string Version, string Name, IReadOnlyList<string> Files);
}
