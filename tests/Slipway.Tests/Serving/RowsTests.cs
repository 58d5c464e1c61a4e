using System.Net;
using System.Text;
using System.Text.Json;
using Slipway.Native.Onnx;

namespace Slipway.Tests.Serving;

/// <summary>The protocols of MLflow's scoring server and of TensorFlow Serving.</summary>
[Trait("database", "none")]
public sealed class RowsTests(RowsTests.Models models) : IClassFixture<RowsTests.Models>
{
    private static readonly double[] Expected = [1 / (1 + Math.Exp(-0.1)), 1 / (1 + Math.Exp(-0.2))];

    private static CancellationToken Cancel => TestContext.Current.CancellationToken;

    [Theory, Trait("capability", "SRV-01")]
    [InlineData("""{"dataframe_split":{"columns":["calendar:hour","flight:distance"],"index":[0,1],"data":[[1,100],[2,200]]}}""")]
    [InlineData("""{"dataframe_split":{"data":[[100,1],[200,2]]}}""")]
    [InlineData("""{"dataframe_records":[{"calendar:hour":1,"flight:distance":100},{"flight:distance":200,"calendar:hour":2}]}""")]
    [InlineData("""{"instances":[[100,1],[200,2]],"params":{}}""")]
    [InlineData("""{"instances":[{"flight:distance":100,"calendar:hour":1},{"flight:distance":200,"calendar:hour":2}]}""")]
    [InlineData("""{"inputs":[[100,1],[200,2]]}""")]
    [InlineData("""{"inputs":{"flight:distance":[100,200],"calendar:hour":[[1],[2]]}}""")]
    [InlineData("\uFEFFflight:distance,\"calendar:hour\"\r\n100,1\r\n\"200\",2\r\n", "text/csv")]
    public async Task Each_form_of_mlflow_gives_the_same_predictions(string body, string type = "application/json")
    {
        var (response, answer) = await PostAsync($"/invocations?model={ServingHost.Model}", body, type);

        Assert.True(response.IsSuccessStatusCode, answer.ToString());
        Assert.Equal(Expected, answer.GetProperty("predictions").EnumerateArray().Select(value => value.GetDouble()), (a, b) => Math.Abs(a - b) < 1e-6);
        Assert.Equal("1.0.0", response.Headers.GetValues("X-Slipway-Model-Version").Single());
        Assert.NotEmpty(response.Headers.GetValues("X-Slipway-Prediction-Id").Single());
    }

    [Fact]
    public async Task Tensors_of_any_kind_are_taken_by_name_row_by_row_or_as_a_table()
    {
        Assert.Equal("""{"OUTPUT0":[[2,4],[6,8]],"OUTPUT1":[[0,0],[0,0]]}""", await PredictAsync("pair", """{"inputs":{"INPUT0":[[1,2],[3,4]],"INPUT1":[[1,2],[3,4]]}}"""));
        Assert.Equal("""{"OUTPUT0":[[2,4]],"OUTPUT1":[[0,0]]}""", await PredictAsync("pair", """{"instances":[{"INPUT0":[1,2],"INPUT1":[1,2]}]}"""));
        Assert.Equal("""["a,b","größer"]""", await PredictAsync("texts", """{"inputs":["a,b","größer"]}"""));
        Assert.Equal("""["a,b","größer"]""", await PredictAsync("texts", "IN\n\"a,b\"\ngrößer\n", "text/csv"));
        Assert.Equal("""["say \"a\"","2"]""", await PredictAsync("texts", "IN\n\"say \"\"a\"\"\"\n2", "text/csv"));
        // A table under the names of its columns, as a frame of a classifier comes.
        using var labelled = JsonDocument.Parse(await PredictAsync("classifier", """{"dataframe_split":{"columns":["a","b"],"data":[[0,9],[9,0]]}}"""));
        Assert.Equal("[1,0]", labelled.RootElement.GetProperty("label").GetRawText());

        async Task<string> PredictAsync(string model, string body, string type = "application/json; charset=utf-8")
        {
            var (response, answer) = await PostAsync($"/invocations?model={model}&version=1.0.0", body, type);
            Assert.True(response.IsSuccessStatusCode, answer.ToString());
            return answer.GetProperty("predictions").GetRawText();
        }
    }

    [Theory]
    [InlineData("{}", "exactly one of 'dataframe_split', 'dataframe_records', 'instances' or 'inputs'")]
    [InlineData("""{"instances":[],"inputs":[]}""", "not with instances and inputs")]
    [InlineData("[", "not valid JSON")]
    [InlineData("""{"dataframe_split":{"columns":["a"]}}""", "'dataframe_split' must be an object with 'columns' and 'data'")]
    [InlineData("""{"dataframe_split":{"columns":["flight:distance","calendar:hour"],"data":[[1]]}}""", "'dataframe_split.data[0]' is not a list of 2 values")]
    [InlineData("""{"dataframe_split":{"columns":["speed"],"data":[[1]]}}""", "'speed' is not an input of model 'flight-delay' version 1.0.0; send 'flight:distance', 'calendar:hour'.")]
    [InlineData("""{"dataframe_split":{"columns":["flight:distance"],"data":[[1]]}}""", "Input 'calendar:hour' is missing")]
    [InlineData("""{"dataframe_split":{"columns":["flight:distance","calendar:hour"],"data":[[1,"x"]]}}""", "'calendar:hour'.data[0] is the text 'x'; send a finite number")]
    [InlineData("""{"dataframe_records":[{"flight:distance":1},{"calendar:hour":1}]}""", "'dataframe_records[1]' has other columns than flight:distance, or one twice")]
    [InlineData("""{"dataframe_records":[{"flight:distance":1,"flight:distance":2,"calendar:hour":1}]}""", "'dataframe_records[0]' has other columns than flight:distance, calendar:hour, or one twice")]
    [InlineData("""{"dataframe_records":[]}""", "'dataframe_records' must be a list of at least one object")]
    [InlineData("""{"inputs":7}""", "'inputs' must be a list of rows")]
    [InlineData("""{"inputs":[]}""", "'inputs' is empty; send at least one row of 2 values: flight:distance, calendar:hour.")]
    [InlineData("""{"instances":[]}""", "'instances' is empty; send at least one row of 2 values")]
    [InlineData("""{"instances":[[]]}""", "'instances' holds a row without values; send rows of 2 values")]
    [InlineData("""{"inputs":[[1,2],[3]]}""", "at level 2 one has 1 values where the first has 2")]
    [InlineData("""{"instances":[[1,2],[3,4,5],[6]]}""", "at level 2 one has 3 values where the first has 2")]
    [InlineData("""{"inputs":{"\ud800":[1]}}""", "a text that is not Unicode")]
    [InlineData("""{"inputs":[[1,null]]}""", "is null")]
    [InlineData("flight:distance\n", "has no rows below its header", "text/csv")]
    [InlineData("flight:distance,calendar:hour\n1\n", "Row 1 of the CSV has 1 cells, but the header has 2", "text/csv")]
    [InlineData("flight:distance,calendar:hour\n1,\n", "'calendar:hour'.data[0] is null", "text/csv")]
    [InlineData("flight:distance,calendar:hour\n1,\"2", "ends inside a cell in quotes", "text/csv")]
    [InlineData("flight:distance,calendar:hour\n1,\"2\"x", "something behind a cell's closing quote", "text/csv")]
    public async Task What_does_not_fit_is_told_as_the_scoring_server_tells_it(string body, string expected, string type = "application/json")
    {
        var (response, answer) = await PostAsync($"/invocations?model={ServingHost.Model}", body, type);

        Assert.Equal((HttpStatusCode.BadRequest, "BAD_REQUEST"), (response.StatusCode, answer.GetProperty("error_code").GetString()));
        Assert.Contains(expected, answer.GetProperty("message").GetString(), StringComparison.Ordinal);
    }

    [Fact]
    public async Task The_content_type_and_the_model_have_to_be_clear()
    {
        const string Body = """{"inputs":[[100,1]]}""";
        foreach (var type in (string[])["text/plain", "application/json; charset=latin1", "application/json; format=pandas-records"])
        {
            Assert.Equal(HttpStatusCode.UnsupportedMediaType, (await PostAsync($"/invocations?model={ServingHost.Model}", Body, type)).Response.StatusCode);
        }

        foreach (var type in (string[])["APPLICATION/JSON", "application/Json; CHARSET=\"UTF-8\""])
        {
            Assert.Equal(HttpStatusCode.OK, (await PostAsync($"/invocations?model={ServingHost.Model}", Body, type)).Response.StatusCode);
        }

        Assert.Equal(HttpStatusCode.OK, (await PostAsync($"/invocations?model={ServingHost.Model}", "flight:distance,calendar:hour\n100,1\n", "Text/CSV")).Response.StatusCode);
        // One model is in service here, so that it need not be named.
        Assert.Equal(HttpStatusCode.OK, (await PostAsync("/invocations", Body)).Response.StatusCode);
        Assert.Equal(HttpStatusCode.NotFound, (await PostAsync("/invocations?model=nothing", Body)).Response.StatusCode);
        Assert.Equal(200, (int)(await models.Host.Area.Client.GetAsync("/ping", Cancel)).StatusCode);
    }

    [Fact, Trait("capability", "SRV-01")]
    public async Task TensorFlow_servings_rows_and_columns_are_answered_in_kind()
    {
        var (_, answer) = await PostAsync($"/v1/models/{ServingHost.Model}:predict", """{"signature_name":"serving_default","instances":[[100,1],[200,2]]}""");
        Assert.Equal(Expected, answer.GetProperty("predictions").EnumerateArray().Select(row => row[0].GetDouble()), (a, b) => Math.Abs(a - b) < 1e-6);
        (_, answer) = await PostAsync($"/v1/models/{ServingHost.Model}/labels/production:predict", """{"inputs":[[100,1]]}""");
        Assert.Equal(1, answer.GetProperty("outputs").GetArrayLength());
        (_, answer) = await PostAsync("/v1/models/pair/versions/1.0.0:predict", """{"instances":[{"INPUT0":[1,2],"INPUT1":[1,1]},{"INPUT0":[3,4],"INPUT1":[1,1]}]}""");
        Assert.Equal("""[{"OUTPUT0":[2,3],"OUTPUT1":[0,1]},{"OUTPUT0":[4,5],"OUTPUT1":[2,3]}]""", answer.GetProperty("predictions").GetRawText());
        (_, answer) = await PostAsync("/v1/models/pair/versions/1.0.0:predict", """{"inputs":{"INPUT0":[[1,2]],"INPUT1":[[1,1]]}}""");
        Assert.Equal("""{"OUTPUT0":[[2,3]],"OUTPUT1":[[0,1]]}""", answer.GetProperty("outputs").GetRawText());
        Assert.Equal("""[{"version":"1.0.0","state":"AVAILABLE","status":{"error_code":"OK","error_message":""}}]""",
            (await models.Host.Area.GetAsync($"/v1/models/{ServingHost.Model}")).Body.GetProperty("model_version_status").GetRawText());

        foreach (var body in (string[])["{}", """{"instances":[[1,2]],"inputs":[[1,2]]}""", """{"signature_name":"other","inputs":[[1,2]]}""", """{"instances":[[1]]}"""])
        {
            Assert.Equal(HttpStatusCode.BadRequest, (await PostAsync($"/v1/models/{ServingHost.Model}:predict", body)).Response.StatusCode);
        }
    }

    [Theory]
    [InlineData("/invocations?model=table&version=1.0.0", "inputs", "predictions")]
    [InlineData("/v1/models/table/versions/1.0.0:predict", "inputs", "outputs")]
    [InlineData("/v1/models/table/versions/1.0.0:predict", "instances", "predictions")]
    public async Task An_answer_of_lists_without_values_has_an_end(string path, string given, string answered)
    {
        var (_, few) = await PostAsync(path, $$"""{"{{given}}":[[],[]]}""");
        Assert.Equal("[[],[]]", few.GetProperty(answered).GetRawText());

        var (response, answer) = await PostAsync(path, $$"""{"{{given}}":[{{string.Join(',', Enumerable.Repeat("[]", 1_000_000))}}]}""");
        Assert.Equal(HttpStatusCode.BadRequest, response.StatusCode);
        Assert.Contains("Output 'OUT' has the shape [1000000, 0]: more than 1,000,000 lists without a value in any of them; POST to /v2/models/table/infer and ask for it as bytes.", answer.ToString(), StringComparison.Ordinal);
    }

    private async Task<(HttpResponseMessage Response, JsonElement Answer)> PostAsync(string path, string body, string type = "application/json")
    {
        using var content = new ByteArrayContent(Encoding.UTF8.GetBytes(body));
        content.Headers.TryAddWithoutValidation("Content-Type", type);
        var response = await models.Host.Area.Client.PostAsync(path, content, Cancel);
        var text = await response.Content.ReadAsStringAsync(Cancel);
        return (response, text.Length == 0 ? default : JsonDocument.Parse(text).RootElement);
    }

    public sealed class Models : IAsyncLifetime
    {
        internal ServingHost Host { get; private set; } = null!;

        public async ValueTask InitializeAsync()
        {
            Host = await ServingHost.StartServingAsync();
            await Host.RegisterTensorsAsync(TensorModels.SumAndDifference(OnnxElementType.Float, "batch", -1, 2), "pair");
            await Host.RegisterTensorsAsync(TensorModels.Echo(OnnxElementType.String, -1), "texts");
            await Host.RegisterTensorsAsync(TensorModels.Classifier(), "classifier");
            await Host.RegisterTensorsAsync(TensorModels.Echo(OnnxElementType.Float, -1, -1), "table");
        }

        public ValueTask DisposeAsync() => Host.DisposeAsync();
    }
}
