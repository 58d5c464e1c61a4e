using System.Diagnostics;
using System.Globalization;
using System.Net;
using System.Text.Json;
using Slipway.Tests.Hosting;
using YamlDotNet.RepresentationModel;

namespace Slipway.EndToEnd.Registry;

/// <summary>A version that leaves its registry, and answers the same elsewhere.</summary>
public sealed class ExportTests
{
    private static CancellationToken Cancel => TestContext.Current.CancellationToken;

    [Fact, Trait("capability", "SRV-05"), Trait("capability", "SRV-08"), Trait("capability", "SRV-06"), Trait("capability", "SRV-20"), Trait("capability", "X-42"), Trait("capability", "X-43"), Trait("capability", "OPS-03")]
    public async Task An_exported_version_runs_elsewhere_with_the_same_answers_and_its_manifests_are_in_order()
    {
        var place = Directory.CreateTempSubdirectory("slipway-export-").FullName;
        try
        {
            var to = Path.Combine(place, "export");
            double[] expected;
            await using (var home = await RunningServer.StartAsync(Path.Combine(place, "home"), Cancel))
            {
                await SlipwayAsync(home, "registry", "register", "Late parcel", Path.Combine(SlipwayProgram.Root, "examples", "rollout", "late-2.onnx"));
                expected = await ScoreAsync(home, "/v2/models/Late%20parcel/versions/1.0.0/infer");

                await SlipwayAsync(home, "export", "Late parcel", "1.0.0", "--to", to, "--min-replicas", "1", "--max-replicas", "9", "--queue-target", "4");
                await SlipwayAsync(home, "export", "Late parcel", "1.0.0", "--to", $"{to}.tar");
                await CheckPolicyAsync(home, place);
                var (again, _, refusal) = await SlipwayProgram.RunAsync(Cancel, "--server", home.Address.ToString(), "export", "Late parcel", "1.0.0", "--to", to);
                var (unknown, _, unfound) = await SlipwayProgram.RunAsync(Cancel, "--server", home.Address.ToString(), "export", "Late parcel", "9.9.9", "--to", $"{to}-9");

                Assert.NotEqual(0, again);
                Assert.Contains("is there already", refusal, StringComparison.Ordinal);
                Assert.NotEqual(0, unknown);
                Assert.Contains("9.9.9", unfound, StringComparison.Ordinal);
                Assert.Equal(["export", "export.tar", "home"], Directory.EnumerateFileSystemEntries(place).Select(Path.GetFileName).Order()); // Nothing half is left.
            }

            // The commands of its own page: verify, run, ask.
            Assert.Equal(0, await ExitAsync("sha256sum", to, "-c", "--quiet", "SHA256SUMS"));
            await using (var elsewhere = await RunningServer.StartAsync(Path.Combine(place, "elsewhere"), Cancel, "--model-repository", Path.Combine(to, "models")))
            {
                Assert.Equal(expected, await ScoreAsync(elsewhere, "/v2/models/late-parcel/infer"), (a, b) => Math.Abs(a - b) < 1e-9);
                using var client = new HttpClient { BaseAddress = elsewhere.Address };
                using var example = new StringContent(await File.ReadAllTextAsync(Path.Combine(to, "example-request.json"), Cancel), System.Text.Encoding.UTF8, "application/json");
                using var answer = await client.PostAsync(new Uri("/v2/models/late-parcel/infer", UriKind.Relative), example, Cancel);
                Assert.True(answer.IsSuccessStatusCode, await answer.Content.ReadAsStringAsync(Cancel));
            }

            using var passport = JsonDocument.Parse(await File.ReadAllTextAsync(Path.Combine(to, "passport.json"), Cancel));
            Assert.Equal("Late parcel", passport.RootElement.GetProperty("version").GetProperty("model").GetString());
            var unpacked = Directory.CreateDirectory(Path.Combine(place, "unpacked")).FullName;
            await System.Formats.Tar.TarFile.ExtractToDirectoryAsync($"{to}.tar", unpacked, overwriteFiles: false, Cancel);
            Assert.Equal(await File.ReadAllBytesAsync(Path.Combine(to, "models", "late-parcel", "1", "model.onnx"), Cancel), await File.ReadAllBytesAsync(Path.Combine(unpacked, "models", "late-parcel", "1", "model.onnx"), Cancel));
            CheckManifests(to);
            await CheckWithKubectlAsync(Path.Combine(to, "kubernetes", "slipway.yaml"));
        }
        finally
        {
            Directory.Delete(place, recursive: true);
        }
    }

    // kubectl asks a cluster which kinds there are even when it sends nothing; these are the answers of Kubernetes 1.32.
    private static async Task CheckWithKubectlAsync(string manifest)
    {
        Assert.SkipWhen(!Environment.GetEnvironmentVariable("PATH")!.Split(':').Any(folder => File.Exists(Path.Combine(folder, "kubectl"))), "kubectl is not installed.");
        using var cluster = new HttpListener();
        var address = new Uri($"http://127.0.0.1:{FreePort.Next().ToString(CultureInfo.InvariantCulture)}/");
        cluster.Prefixes.Add(address.ToString());
        cluster.Start();
        var answering = Task.Run(async () =>
        {
            while (await cluster.GetContextAsync() is { } context)
            {
                var answer = Discovery(context.Request.Url!.AbsolutePath);
                context.Response.StatusCode = answer is null ? 404 : 200;
                context.Response.ContentType = "application/json";
                context.Response.Close(JsonSerializer.SerializeToUtf8Bytes(answer ?? new { kind = "Status", status = "Failure", code = 404 }), willBlock: false);
            }
        }, Cancel);

        var taken = await KubectlAsync(address, manifest);
        Assert.Equal(["deployment.apps", "service", "horizontalpodautoscaler.autoscaling", "poddisruptionbudget.policy"], taken.Select(line => line.Split('/')[0]));
        Assert.All(taken, line => Assert.EndsWith("/late-parcel created (dry run)", line, StringComparison.Ordinal));

        // It would say so if it did not know a kind.
        var wrong = Path.Combine(Path.GetDirectoryName(manifest)!, "wrong.yaml");
        await File.WriteAllTextAsync(wrong, (await File.ReadAllTextAsync(manifest, Cancel)).Replace("policy/v1", "policy/v9", StringComparison.Ordinal), Cancel);
        Assert.Contains("PodDisruptionBudget", string.Join('\n', await KubectlAsync(address, wrong, fails: true)), StringComparison.Ordinal);
        cluster.Stop();
        await answering.ContinueWith(_ => { }, TaskScheduler.Default); // Stopping ends it with an exception.
    }

    private static async Task<string[]> KubectlAsync(Uri cluster, string manifest, bool fails = false)
    {
        using var process = Process.Start(new ProcessStartInfo("kubectl", ["create", "--dry-run=client", "--validate=false", "--server", cluster.ToString(), "-f", manifest])
        {
            RedirectStandardOutput = true,
            RedirectStandardError = true,
            Environment = { ["HOME"] = Path.GetDirectoryName(manifest)!, ["KUBECONFIG"] = "/dev/null" },
        })!;
        var (output, error) = (process.StandardOutput.ReadToEndAsync(Cancel), process.StandardError.ReadToEndAsync(Cancel));
        await process.WaitForExitAsync(Cancel);
        Assert.True(process.ExitCode == 0 != fails, $"{await output}{await error}");
        return (fails ? await error : await output).Split('\n', StringSplitOptions.RemoveEmptyEntries);
    }

    private static object? Discovery(string path)
    {
        static object Resources(string group, params (string Name, string Kind)[] kinds) => new
        {
            kind = "APIResourceList",
            apiVersion = "v1",
            groupVersion = group,
            resources = kinds.Select(one => new { name = one.Name, singularName = "", namespaced = true, kind = one.Kind, verbs = new[] { "create", "get", "list", "patch" } }),
        };
        return path switch
        {
            "/api" => new { kind = "APIVersions", versions = new[] { "v1" } },
            "/apis" => new
            {
                kind = "APIGroupList",
                apiVersion = "v1",
                groups = new[] { ("apps", "v1"), ("autoscaling", "v2"), ("policy", "v1") }.Select(group => new
                {
                    name = group.Item1,
                    versions = new[] { new { groupVersion = $"{group.Item1}/{group.Item2}", version = group.Item2 } },
                    preferredVersion = new { groupVersion = $"{group.Item1}/{group.Item2}", version = group.Item2 },
                }),
            },
            "/api/v1" => Resources("v1", ("services", "Service")),
            "/apis/apps/v1" => Resources("apps/v1", ("deployments", "Deployment")),
            "/apis/autoscaling/v2" => Resources("autoscaling/v2", ("horizontalpodautoscalers", "HorizontalPodAutoscaler")),
            "/apis/policy/v1" => Resources("policy/v1", ("poddisruptionbudgets", "PodDisruptionBudget")),
            _ => null,
        };
    }

    // What the model's scaling policy says goes into the manifest, and what the command line says goes before it.
    private static async Task CheckPolicyAsync(RunningServer home, string place)
    {
        var file = Path.Combine(place, "serving.yaml");
        var to = Path.Combine(place, "scaled");
        await File.WriteAllTextAsync(file, "kind: serving\nname: Late parcel\nscaling: {min: 0, max: 5, target: 3}\n", Cancel);
        await SlipwayAsync(home, "apply", file);
        await SlipwayAsync(home, "export", "Late parcel", "1.0.0", "--to", to);
        await SlipwayAsync(home, "export", "Late parcel", "1.0.0", "--to", $"{to}-2", "--min-replicas", "2", "--queue-target", "7");

        var (scaler, other) = (Load(Path.Combine(to, "kubernetes", "slipway.yaml"))[2], Load(Path.Combine($"{to}-2", "kubernetes", "slipway.yaml"))[2]);
        Assert.Equal(("1", "5"), (Text(scaler, "spec", "minReplicas"), Text(scaler, "spec", "maxReplicas")));
        Assert.Equal(("slipway_serving_concurrency", "3"), (Text(Items(scaler, "spec", "metrics")[0], "pods", "metric", "name"), Text(Items(scaler, "spec", "metrics")[0], "pods", "target", "averageValue")));
        Assert.Equal(await File.ReadAllTextAsync(file, Cancel), await File.ReadAllTextAsync(Path.Combine(to, "models", "late-parcel", "serving.yaml"), Cancel));
        var mounts = Items(Items(Load(Path.Combine(to, "kubernetes", "slipway.yaml"))[0], "spec", "template", "spec", "containers")[0], "volumeMounts").Select(mount => Text(mount, "mountPath"));
        Assert.Contains("/models/late-parcel/serving.yaml", mounts);
        await using (var elsewhere = await RunningServer.StartAsync(Path.Combine(place, "scaled-data"), Cancel, "--model-repository", Path.Combine(to, "models")))
        {
            await ScoreAsync(elsewhere, "/v2/models/late-parcel/infer");
        }

        Directory.Delete(Path.Combine(place, "scaled-data"), recursive: true);
        Assert.Contains("# The model's policy has min: 0. A HorizontalPodAutoscaler does not go below 1 replica", await File.ReadAllTextAsync(Path.Combine(to, "kubernetes", "slipway.yaml"), Cancel), StringComparison.Ordinal);
        Assert.Equal(("2", "5"), (Text(other, "spec", "minReplicas"), Text(other, "spec", "maxReplicas")));
        Assert.Equal(("slipway_serving_queue_depth", "7"), (Text(Items(other, "spec", "metrics")[0], "pods", "metric", "name"), Text(Items(other, "spec", "metrics")[0], "pods", "target", "averageValue")));
        Directory.Delete(to, recursive: true);
        Directory.Delete($"{to}-2", recursive: true);
        File.Delete(file);
    }

    private static void CheckManifests(string folder)
    {
        var documents = Load(Path.Combine(folder, "kubernetes", "slipway.yaml"));
        Assert.Equal(["Deployment", "Service", "HorizontalPodAutoscaler", "PodDisruptionBudget"], documents.Select(document => Text(document, "kind")));
        Assert.All(documents, document => Assert.Equal("late-parcel", Text(document, "metadata", "name")));
        var (deployment, service, scaler, budget) = (documents[0], documents[1], documents[2], documents[3]);
        Assert.Equal("Late parcel", Text(deployment, "metadata", "annotations", "slipway/model"));

        // What selects must find: pods by their label, ports and volumes by their names.
        foreach (var selector in new[] { Node(deployment, "spec", "selector", "matchLabels"), Node(service, "spec", "selector"), Node(budget, "spec", "selector", "matchLabels") })
        {
            Assert.Equal(Text(deployment, "spec", "template", "metadata", "labels", "app"), Text(selector, "app"));
        }

        var pod = Node(deployment, "spec", "template", "spec");
        var container = Assert.Single(Items(pod, "containers"));
        var ports = Items(container, "ports").Select(port => Text(port, "name")).ToList();
        Assert.All(Items(service, "spec", "ports"), port => Assert.Contains(Text(port, "targetPort"), ports));
        foreach (var (probe, path) in new[] { ("startupProbe", "/v2/health/ready"), ("readinessProbe", "/v2/health/ready"), ("livenessProbe", "/v2/health/live") })
        {
            Assert.Equal((path, "http"), (Text(container, probe, "httpGet", "path"), Text(container, probe, "httpGet", "port")));
        }

        Assert.Equal(Items(pod, "volumes").Select(volume => Text(volume, "name")), Items(container, "volumeMounts").Select(mount => Text(mount, "name")).Distinct().OrderBy(name => Array.IndexOf(["data", "tmp", "config", "model"], name)));
        Assert.Equal((Text(deployment, "kind"), "late-parcel"), (Text(scaler, "spec", "scaleTargetRef", "kind"), Text(scaler, "spec", "scaleTargetRef", "name")));
        Assert.Equal(("1", "9"), (Text(scaler, "spec", "minReplicas"), Text(scaler, "spec", "maxReplicas")));
        Assert.Equal(("slipway_serving_queue_depth", "4"), (Text(Items(scaler, "spec", "metrics")[0], "pods", "metric", "name"), Text(Items(scaler, "spec", "metrics")[0], "pods", "target", "averageValue")));
        Assert.Equal("1", Text(budget, "spec", "maxUnavailable")); // One replica that may never go would stop the cluster's upkeep.

        var compose = Assert.Single(Load(Path.Combine(folder, "docker-compose.yaml")));
        Assert.Equal(Items(container, "args").Select(argument => argument.ToString()), Items(compose, "services", "late-parcel", "command").Select(argument => argument.ToString()));
        Assert.Contains($"--model-repository /opt/late-parcel/models\n", File.ReadAllText(Path.Combine(folder, "slipway-late-parcel.service")), StringComparison.Ordinal);
    }

    private static List<YamlNode> Load(string path)
    {
        var stream = new YamlStream();
        using var text = new StreamReader(path);
        stream.Load(text);
        return [.. stream.Documents.Select(document => document.RootNode)];
    }

    private static YamlNode Node(YamlNode node, params string[] path) => path.Aggregate(node, (at, key) => at[key]);

    private static string Text(YamlNode node, params string[] path) => Node(node, path).ToString();

    private static IReadOnlyList<YamlNode> Items(YamlNode node, params string[] path) => [.. (YamlSequenceNode)Node(node, path)];

    private static async Task<double[]> ScoreAsync(RunningServer server, string path)
    {
        using var client = new HttpClient { BaseAddress = server.Address };
        for (var attempt = 0; ; attempt++)
        {
            using var request = new StringContent("""{"inputs":[{"name":"features","shape":[3,2],"datatype":"FP32","data":[100,8,500,12,900,20]}]}""", System.Text.Encoding.UTF8, "application/json");
            using var answer = await client.PostAsync(new Uri(path, UriKind.Relative), request, Cancel);
            var text = await answer.Content.ReadAsStringAsync(Cancel);
            if ((int)answer.StatusCode == 503 && attempt < 300)
            {
                await Task.Delay(50, Cancel);
                continue;
            }

            Assert.True(answer.IsSuccessStatusCode, text);
            return [.. JsonDocument.Parse(text).RootElement.GetProperty("outputs")[0].GetProperty("data").EnumerateArray().Select(value => value.GetDouble())];
        }
    }

    private static async Task SlipwayAsync(RunningServer server, params string[] arguments)
    {
        var (exit, output, error) = await SlipwayProgram.RunAsync(Cancel, ["--server", server.Address.ToString(), .. arguments]);
        Assert.True(exit == 0, $"{output}\n{error}");
    }

    private static async Task<int> ExitAsync(string program, string folder, params string[] arguments)
    {
        using var process = Process.Start(new ProcessStartInfo(program, arguments) { WorkingDirectory = folder })!;
        await process.WaitForExitAsync(Cancel);
        return process.ExitCode;
    }
}
