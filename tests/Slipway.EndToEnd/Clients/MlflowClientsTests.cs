using System.Diagnostics;
using System.Security.Cryptography;
using System.Text.Json;

namespace Slipway.EndToEnd.Clients;

/// <summary>Clients of MLflow that know nothing of Slipway, against every place a server may keep its records and files.</summary>
public sealed class MlflowClientsTests
{
    private static readonly string Scripts = Path.Combine(SlipwayProgram.Root, "tests", "clients");

    [Theory, Trait("capability", "TRK-18"), Trait("capability", "INT-01")]
    [MemberData(nameof(Place.All), MemberType = typeof(Place))]
    public async Task The_npm_package_mlflow_works_unchanged(string place)
    {
        var ct = TestContext.Current.CancellationToken;
        await using var at = await Place.StartAsync(place, ct);
        var (output, error) = await RunAsync("node", [Path.Combine(Scripts, "mlflow-client.cjs"), at.Address], ct);
        Assert.True(output.Length > 0, $"{error}\n{at.Server.Said}");
        var saw = JsonDocument.Parse(output).RootElement;

        var run = saw.GetProperty("run");
        var id = run.GetProperty("info").GetProperty("run_id").GetString();
        Assert.Equal("ada", run.GetProperty("info").GetProperty("user_id").GetString());
        Assert.Equal("FINISHED", run.GetProperty("info").GetProperty("status").GetString());
        Assert.Equal(1700000009000, run.GetProperty("info").GetProperty("end_time").GetInt64());
        Assert.Equal([("auc_score", 0.9), ("loss", 0.125)], Pairs(run, "metrics", value => value.GetDouble()));
        Assert.Equal([("depth", "6"), ("eta", "0.3")], Pairs(run, "params", value => value.GetString()!));
        Assert.Contains(("note", "größer"), Pairs(run, "tags", value => value.GetString()!));
        Assert.DoesNotContain(Pairs(run, "tags", value => value.GetString()!), tag => tag.Key == "stage");
        Assert.Equal([0.5, 0.6, 0.7, 0.8, 0.9], saw.GetProperty("history").EnumerateArray().Select(point => point.GetProperty("value").GetDouble()));
        Assert.Equal([id], saw.GetProperty("found").EnumerateArray().Select(found => found.GetString()));
        Assert.True(saw.GetProperty("listed").GetBoolean() && saw.GetProperty("renamed").GetBoolean());
        Assert.Equal(("deleted", "active", "deleted"),
            (saw.GetProperty("deleted").GetString(), saw.GetProperty("restored").GetString(), saw.GetProperty("experimentDeleted").GetString()));
        Assert.Equal((400, "RESOURCE_ALREADY_EXISTS"), Refusal(saw, "taken"));
        Assert.Equal((400, "INVALID_PARAMETER_VALUE"), Refusal(saw, "changed"));
        Assert.Equal((400, "INVALID_PARAMETER_VALUE"), Refusal(saw, "broken"));
        Assert.Equal((404, "RESOURCE_DOES_NOT_EXIST"), Refusal(saw, "missing"));
    }

    [Theory, Trait("capability", "TRK-18"), Trait("capability", "TRK-03")]
    [MemberData(nameof(Place.All), MemberType = typeof(Place))]
    public async Task The_calls_of_the_rest_documentation_work_with_curl(string place)
    {
        var ct = TestContext.Current.CancellationToken;
        await using var at = await Place.StartAsync(place, ct);
        var file = Path.GetTempFileName();
        try
        {
            var content = RandomNumberGenerator.GetBytes(300_000);
            await File.WriteAllBytesAsync(file, content, ct);
            var (output, error) = await RunAsync("bash", [Path.Combine(Scripts, "mlflow-rest.sh"), at.Address, file], ct);
            Assert.True(output.Length > 0, $"{error}\n{at.Server.Said}");
            var answers = Answers(output);

            foreach (var (name, answer) in answers.Where(answer => answer.Key is not ("unknown" or "download" or "get-artifact")))
            {
                Assert.True(answer.StartsWith("200", StringComparison.Ordinal), $"{name}: {answer}");
            }

            Assert.StartsWith("404", answers["unknown"], StringComparison.Ordinal);
            var digest = Convert.ToHexStringLower(SHA256.HashData(content));
            Assert.Equal((digest, digest), (answers["download"], answers["get-artifact"]));
            Assert.Equal(300_000, Body(answers, "list-artifacts").GetProperty("files")[0].GetProperty("file_size").GetInt64());
            Assert.False(Body(answers, "list-again").TryGetProperty("files", out _));
            var run = Body(answers, "get-run").GetProperty("run");
            Assert.Contains(("nan", "NaN"), Pairs(run, "metrics", value => value.ToString()));
            Assert.Equal([("alpha", "0.5"), ("learning_rate", "0.01")], Pairs(run, "params", value => value.GetString()!));
            Assert.Equal("iris", run.GetProperty("inputs").GetProperty("dataset_inputs")[0].GetProperty("dataset").GetProperty("name").GetString());
            Assert.Equal(1, Body(answers, "search-runs").GetProperty("runs").GetArrayLength());
            Assert.Equal("first", Body(answers, "search-deleted").GetProperty("runs")[0].GetProperty("info").GetProperty("run_name").GetString());
            Assert.Equal(1, Body(answers, "search-models").GetProperty("models").GetArrayLength());
        }
        finally
        {
            File.Delete(file);
        }
    }

    [Theory, Trait("capability", "TRK-12"), Trait("capability", "INT-01")]
    [MemberData(nameof(Place.All), MemberType = typeof(Place))]
    public async Task A_model_is_logged_registered_found_moved_and_fetched_as_mlflows_client_does(string place)
    {
        var ct = TestContext.Current.CancellationToken;
        await using var at = await Place.StartAsync(place, ct);
        var file = Path.GetTempFileName();
        try
        {
            var content = Slipway.Native.Onnx.OnnxConverters.LogisticRegression(["x"], [0], [1], [0.5], 0.1);
            await File.WriteAllBytesAsync(file, content, ct);
            var (output, error) = await RunAsync("bash", [Path.Combine(Scripts, "mlflow-registry.sh"), at.Address, file], ct);
            Assert.True(output.Length > 0, $"{error}\n{at.Server.Said}");
            var answers = Answers(output);

            foreach (var (name, answer) in answers.Where(answer => answer.Key is not ("transition" or "download" or "traversal" or "get-deleted")))
            {
                Assert.True(answer.StartsWith("200", StringComparison.Ordinal), $"{name}: {answer}");
            }

            var version = Body(answers, "create-version").GetProperty("model_version");
            Assert.Equal(("1", "READY", "None"), (version.GetProperty("version").GetString(), version.GetProperty("status").GetString(), version.GetProperty("current_stage").GetString()));
            Assert.Equal("1", Body(answers, "get-by-alias").GetProperty("model_version").GetProperty("version").GetString());
            Assert.Equal("2", Body(answers, "latest").GetProperty("model_versions")[0].GetProperty("version").GetString());
            Assert.Equal(1, Body(answers, "search-versions").GetProperty("model_versions").GetArrayLength());
            Assert.Equal("my iris", Body(answers, "search-models").GetProperty("registered_models")[0].GetProperty("name").GetString());
            Assert.StartsWith("models:/m-", Body(answers, "download-uri").GetProperty("artifact_uri").GetString(), StringComparison.Ordinal);
            Assert.Equal((Convert.ToHexStringLower(SHA256.HashData(content)), "400"), (answers["download"], answers["traversal"]));
            // The gate of our own routes: nobody has approved it.
            Assert.StartsWith("409", answers["transition"], StringComparison.Ordinal);
            Assert.Contains("approvals", answers["transition"], StringComparison.Ordinal);
            Assert.StartsWith("404", answers["get-deleted"], StringComparison.Ordinal);
            Assert.DoesNotContain("hidden-secret", output + at.Server.Said, StringComparison.Ordinal);
        }
        finally
        {
            File.Delete(file);
        }
    }

    private static Dictionary<string, string> Answers(string output) => output.Split('\n', StringSplitOptions.RemoveEmptyEntries)
        .ToDictionary(line => line[..line.IndexOf(' ', StringComparison.Ordinal)], line => line[(line.IndexOf(' ', StringComparison.Ordinal) + 1)..]);

    private static List<(string Key, T Value)> Pairs<T>(JsonElement run, string list, Func<JsonElement, T> read) =>
        [.. run.GetProperty("data").GetProperty(list).EnumerateArray().Select(pair => (pair.GetProperty("key").GetString()!, read(pair.GetProperty("value"))))];

    private static (int, string) Refusal(JsonElement saw, string name) =>
        (saw.GetProperty(name).GetProperty("status").GetInt32(), saw.GetProperty(name).GetProperty("data").GetProperty("error_code").GetString()!);

    private static JsonElement Body(Dictionary<string, string> answers, string name) => JsonDocument.Parse(answers[name][4..]).RootElement;

    private static async Task<(string Output, string Error)> RunAsync(string program, string[] arguments, CancellationToken ct)
    {
        using var process = Process.Start(new ProcessStartInfo(program, arguments) { RedirectStandardOutput = true, RedirectStandardError = true })!;
        var output = process.StandardOutput.ReadToEndAsync(ct);
        var error = process.StandardError.ReadToEndAsync(ct);
        await process.WaitForExitAsync(ct);
        return (process.ExitCode == 0 ? await output : "", await error);
    }
}
