using Dapper;
using Slipway.Tests.Hosting;
using Slipway.Tracking;

namespace Slipway.Tests.Tracking.Traces;

/// <summary>Wrong requests to one server that has one dataset without records; none of them changes that.</summary>
public sealed class EvaluationDatasetFaultTests(EvaluationDatasetFaultTests.Server server) : IClassFixture<EvaluationDatasetFaultTests.Server>
{
    [Theory]
    [InlineData("POST", "create", """{}""", 400)]
    [InlineData("POST", "create", """{"name":"x","tags":"nope"}""", 400)]
    [InlineData("POST", "create", """{"name":"x","tags":"[1]"}""", 400)]
    [InlineData("POST", "create", """{"name":"x","tags":"{\"a\":\"\\u0000\"}"}""", 400)]
    [InlineData("POST", "create", """{"name":"x","schema":"{"}""", 400)]
    [InlineData("POST", "create", """{"name":"x","experiment_ids":["99"]}""", 404)]
    [InlineData("POST", "create", """{"name":5}""", 400)]
    [InlineData("GET", "d-none", null, 404)]
    [InlineData("GET", "d-none/records", null, 404)]
    [InlineData("GET", "d-none/experiment-ids", null, 404)]
    [InlineData("PATCH", "d-none/tags", """{"tags":"{}"}""", 404)]
    [InlineData("PATCH", "ID/tags", """{}""", 400)]
    [InlineData("DELETE", "d-none/tags/a", null, 404)]
    [InlineData("POST", "d-none/records", """{"records":"[]"}""", 404)]
    [InlineData("POST", "ID/records", """{}""", 400)]
    [InlineData("POST", "ID/records", """{"records":[]}""", 400)]
    [InlineData("POST", "ID/records", """{"records":"{}"}""", 400)]
    [InlineData("POST", "ID/records", """{"records":"[1]"}""", 400)]
    [InlineData("POST", "ID/records", """{"records":"[{}]"}""", 400)]
    [InlineData("POST", "ID/records", """{"records":"[{\"inputs\":[]}]"}""", 400)]
    [InlineData("POST", "ID/records", """{"records":"[{\"inputs\":{\"a\":1,\"a\":2}}]"}""", 400)]
    [InlineData("POST", "ID/records", """{"records":"[{\"inputs\":{\"a\":\"\\ud800\"}}]"}""", 400)]
    [InlineData("POST", "ID/records", """{"records":"[{\"inputs\":{},\"expectations\":\"x\"}]"}""", 400)]
    [InlineData("POST", "ID/records", """{"records":"[{\"inputs\":{},\"source\":{\"source_type\":\"CAT\"}}]"}""", 400)]
    [InlineData("POST", "ID/records", """{"records":"[{\"inputs\":{},\"tags\":{\"mlflow.user\":5}}]"}""", 400)]
    [InlineData("GET", "ID/records?max_results=0", null, 400)]
    [InlineData("GET", "ID/records?max_results=x", null, 400)]
    [InlineData("GET", "ID/records?page_token=x", null, 400)]
    [InlineData("POST", "ID/add-experiments", """{}""", 400)]
    [InlineData("POST", "ID/add-experiments", """{"experiment_ids":["99"]}""", 404)]
    [InlineData("POST", "search", """{"max_results":1001}""", 400)]
    [InlineData("POST", "search", """{"filter_string":"size > 3"}""", 400)]
    [InlineData("POST", "search", """{"order_by":["tags.a"]}""", 400)]
    [InlineData("GET", "search?page_token=x", null, 400)]
    public async Task A_faulty_request_gets_MLflow_s_error_and_never_a_500(string method, string path, string? body, int status)
    {
        var (answered, answer) = await server.Host.SendAsync(new HttpMethod(method), $"{Server.Api}/{path.Replace("ID", server.DatasetId, StringComparison.Ordinal)}", body);

        Assert.Equal((status, status == 404 ? "RESOURCE_DOES_NOT_EXIST" : "INVALID_PARAMETER_VALUE"), (answered, answer.GetProperty("error_code").GetString()));
        Assert.True(answer.GetProperty("message").GetString()!.Length > 0);
        Assert.Equal((1L, 0L), server.Host.Read(connection => (
            connection.ExecuteScalar<long>("SELECT count(*) FROM evaluation_datasets"), connection.ExecuteScalar<long>("SELECT count(*) FROM evaluation_dataset_records"))));
    }

    public sealed class Server : IAsyncLifetime
    {
        internal const string Api = "/api/3.0/mlflow/datasets";

        internal AreaHost Host { get; private set; } = null!;

        internal string DatasetId { get; private set; } = "";

        public async ValueTask InitializeAsync()
        {
            Host = await AreaHost.StartAsync(services => services.AddSlipwayTracking(), app => app.MapSlipwayTracking());
            DatasetId = (await Host.PostAsync($"{Api}/create", new { name = "q" })).Body.GetProperty("dataset").GetProperty("dataset_id").GetString()!;
        }

        public ValueTask DisposeAsync() => Host.DisposeAsync();
    }
}
