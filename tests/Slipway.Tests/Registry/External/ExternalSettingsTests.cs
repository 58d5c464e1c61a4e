using System.Text.Json;
using Slipway.Contracts;
using Slipway.Registry.External;

namespace Slipway.Tests.Registry.External;

/// <summary>How an MLflow server is reached, and what is never told or called.</summary>
[Trait("database", "none")]
public sealed class ExternalSettingsTests
{
    [Theory]
    [InlineData("mlflow", null, null, "--registry-uri")]
    [InlineData("mlflow", "ftp://host", null, "--registry-uri")]
    [InlineData("mlflow", "https://ada:secret@host", null, "may hold no credentials")]
    [InlineData("mlflow", "https://host/?token=secret", null, "may hold no credentials")]
    [InlineData("mlflow", "http://mlflow.example.org", "secret", "use https")]
    [InlineData("comet", "https://host", null, "slipway (this server's own registry) or mlflow")]
    [InlineData(null, "https://host", null, "--registry-provider mlflow")]
    public void A_setting_that_cannot_be_meant_is_refused_without_its_secret(string? provider, string? uri, string? token, string message)
    {
        var error = Assert.Throws<SlipwayException>(() => ExternalRegistryOptions.Resolve(provider, uri, token: token));

        Assert.Equal(ErrorCode.InvalidArgument, error.Code);
        Assert.Contains(message, error.Message, StringComparison.Ordinal);
        Assert.DoesNotContain("secret", error.Message, StringComparison.Ordinal);
    }

    [Fact]
    public void Without_a_provider_the_registry_is_this_servers_own() =>
        Assert.All(new[] { null, "", "slipway" }, provider => Assert.Null(ExternalRegistryOptions.Resolve(provider, null)));

    [Theory]
    [InlineData("ada", "s3cret", null, "Basic YWRhOnMzY3JldA==")]
    [InlineData("ada", "s3cret", "t0ken", "Bearer t0ken")]
    public async Task Credentials_are_sent_and_never_told(string user, string password, string? token, string header)
    {
        await using var mlflow = await MlflowFake.StartAsync();
        mlflow.Demands = header;
        var options = ExternalRegistryOptions.Resolve("mlflow", mlflow.Address.ToString(), user, password, token)!;
        using var server = new MlflowServer(options);

        Assert.Null(await server.FindModelAsync("fraud", default));

        mlflow.Demands = "Bearer other";
        var error = await Assert.ThrowsAsync<SlipwayException>(() => server.FindModelAsync("fraud", default));
        Assert.Equal(ErrorCode.Unavailable, error.Code);
        foreach (var text in new[] { error.Message, error.ToString(), server.Fault!, JsonSerializer.Serialize(options), options.ToString()! })
        {
            Assert.DoesNotContain(header.Split(' ')[1], text, StringComparison.Ordinal);
            Assert.DoesNotContain(password, text, StringComparison.Ordinal);
        }
    }

    [Fact]
    public async Task A_redirect_is_not_followed()
    {
        await using var elsewhere = await MlflowFake.StartAsync();
        await using var mlflow = await MlflowFake.StartAsync();
        mlflow.RedirectsTo = new Uri(elsewhere.Address, "/api/2.0/mlflow/registered-models/get?name=fraud").ToString();
        using var server = new MlflowServer(ExternalRegistryOptions.Resolve("mlflow", mlflow.Address.ToString(), token: "t0ken")!);

        var error = await Assert.ThrowsAsync<SlipwayException>(() => server.FindModelAsync("fraud", default));

        Assert.Equal(ErrorCode.Unavailable, error.Code);
        Assert.Contains("answered 302", error.Message, StringComparison.Ordinal);
        Assert.Empty(elsewhere.Requests);
    }

    [Fact]
    public async Task A_server_that_does_not_answer_in_time_is_unreachable()
    {
        await using var mlflow = await MlflowFake.StartAsync();
        using var held = new ManualResetEventSlim();
        mlflow.BeforeWrite = () => held.Wait(TimeSpan.FromSeconds(30));
        var options = ExternalRegistryOptions.Resolve("mlflow", mlflow.Address.ToString())!;
        options.CallTimeout = TimeSpan.FromMilliseconds(200);
        using var server = new MlflowServer(options);

        var error = await Assert.ThrowsAsync<SlipwayException>(() => server.SetAliasAsync("fraud", "champion", 1, default));
        held.Set();

        Assert.Equal(ErrorCode.Unavailable, error.Code);
        Assert.Contains("no answer in time", error.Message, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("mlflow-artifacts:/1/abc/artifacts/model", null, "1/abc/artifacts/model")]
    [InlineData("mlflow-artifacts://mlflow.example.org/1/model", null, "1/model")]
    [InlineData("https://mlflow.example.org/api/2.0/mlflow-artifacts/artifacts/1/model", null, "1/model")]
    [InlineData("s3://bucket/1/abc/artifacts/model", "s3://bucket/1/abc/artifacts", "run:model")]
    [InlineData("s3://bucket/1/abc/artifacts", "s3://bucket/1/abc/artifacts", "run:")]
    [InlineData("runs:/abc/model", null, "run:model")]
    [InlineData("runs:/other/model", null, null)]
    [InlineData("s3://bucket/1/abc/artifactsX/model", "s3://bucket/1/abc/artifacts", null)]
    [InlineData("s3://bucket/1/abc/artifacts/../../2", "s3://bucket/1/abc/artifacts", null)]
    [InlineData("https://evil.example.org/api/2.0/mlflow-artifacts/artifacts/1/model", null, null)]
    [InlineData("/etc", null, null)]
    public void Files_are_asked_for_only_where_the_server_hands_them_out(string uri, string? runUri, string? expected)
    {
        var folder = ArtifactFolder.Of(uri, "abc", runUri, new Uri("https://mlflow.example.org/"));

        Assert.Equal(expected, folder is null ? null : folder.RunId is null ? folder.Path : $"run:{folder.Path}");
    }
}
