using System.Net;
using Slipway.Contracts.Identity;
using Slipway.Native.Onnx;
using Slipway.Tests.Identity;
using Slipway.Tests.Serving;

namespace Slipway.Tests.Hosting;

/// <summary>A path that was asked before is not routed again, and what is asked there is answered, refused and kept apart as at first.</summary>
public sealed class KnownRoutesTests : IAsyncLifetime
{
    private const string Body = """{"inputs":[{"name":"IN","shape":[1],"datatype":"FP32","data":[2.5]}]}""";

    private readonly string _models = Directory.CreateTempSubdirectory("slipway-test-").FullName;
    private WholeServer _server = null!;

    public async ValueTask InitializeAsync()
    {
        foreach (var model in new[] { "first", "second" })
        {
            var folder = Directory.CreateDirectory(Path.Combine(_models, model, "1")).FullName;
            await File.WriteAllBytesAsync(Path.Combine(folder, "model.onnx"), TensorModels.Echo(OnnxElementType.Float, -1), WholeServer.Cancel);
        }

        _server = await WholeServer.StartAsync(options => options with { ModelRepository = _models });
        await ServingHost.UntilAsync(() => _server.Service<Slipway.Serving.Folder.ModelFolder>().Models is { Count: 2 } models && models.Values.All(model => model != Slipway.Serving.Folder.FolderModel.Loading));
    }

    public async ValueTask DisposeAsync()
    {
        if (_server is not null)
        {
            await _server.DisposeAsync();
        }

        Directory.Delete(_models, recursive: true);
    }

    [Fact, Trait("capability", "SRV-01"), Trait("database", "none")]
    public async Task Each_path_leads_where_it_did_whoever_asks_and_however_often()
    {
        var ada = await _server.AddAsync("ada", Role.MlEngineer);
        var made = await _server.PostAsync($"{WholeServer.Api}/users/ada/keys", ada, new { name = "one", permissions = new[] { "read", "predict" }, models = new[] { "first" } });
        var limited = made.Json.GetProperty("token").GetString();

        for (var time = 0; time < 3; time++)
        {
            foreach (var (path, model) in new[] { ("first", "first"), ("second", "second"), ("first/versions/1", "first"), ("second/versions/1", "second"), ("%66irst", "first") })
            {
                var answer = await _server.PostAsync($"/v2/models/{path}/infer", ada, Body);
                Assert.Equal(HttpStatusCode.OK, answer.Status);
                Assert.Equal(model, answer.Json.GetProperty("model_name").GetString());

                Assert.Equal(model == "first" ? HttpStatusCode.OK : HttpStatusCode.Forbidden, (await _server.PostAsync($"/v2/models/{path}/infer", limited, Body)).Status);
                Assert.Equal(HttpStatusCode.Unauthorized, (await _server.PostAsync($"/v2/models/{path}/infer", "slw_wrong", Body)).Status);
                Assert.Equal(HttpStatusCode.MethodNotAllowed, (await _server.GetAsync($"/v2/models/{path}/infer", ada)).Status);
            }

            Assert.Equal(HttpStatusCode.NotFound, (await _server.PostAsync("/v2/models/third/infer", ada, Body)).Status);
            Assert.Equal(HttpStatusCode.NotFound, (await _server.PostAsync("/v2/models/first/versions/9/infer", ada, Body)).Status);
        }
    }

    [Fact, Trait("database", "none")]
    public async Task More_paths_than_are_kept_are_answered_as_well()
    {
        var ada = await _server.AddAsync("ada", Role.MlEngineer);
        for (var i = 0; i < 1100; i++)
        {
            Assert.Equal(HttpStatusCode.NotFound, (await _server.PostAsync($"/v2/models/none-{i}/infer", ada, Body)).Status);
        }

        Assert.Equal(HttpStatusCode.OK, (await _server.PostAsync("/v2/models/first/infer", ada, Body)).Status);
        Assert.Equal(HttpStatusCode.OK, (await _server.PostAsync("/v2/models/first/infer", ada, Body)).Status);
    }
}
