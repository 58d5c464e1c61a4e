namespace Slipway.Tests.Serving;

/// <summary>One host for the many wrong requests, none of which may leave a trace.</summary>
[Trait("database", "none")]
public sealed class SignatureTests(SignatureTests.Serving serving) : IClassFixture<SignatureTests.Serving>
{
    [Theory, Trait("capability", "REG-11")]
    [InlineData("""{"inputs":[{"name":"features","shape":[1,2],"datatype":"FP32","data":[1,2]}""", "not valid JSON (line 1, byte")]
    [InlineData("[]", "not a JSON object")]
    [InlineData("", "not valid JSON")]
    [InlineData("{}", "'inputs' is missing")]
    [InlineData("""{"inputs":[]}""", "'inputs' is empty; send 'features' as FP32 [n, 2]")]
    [InlineData("""{"inputs":[{"name":"distance","shape":[1],"datatype":"FP32","data":[1]}]}""", "inputs[0].name 'distance' is not an input of model 'flight-delay' version 1.0.0; send 'features'")]
    [InlineData("""{"inputs":[{"name":"flight:distance","shape":[1],"datatype":"FP32","data":[1]}]}""", "Input 'calendar:hour' is missing")]
    [InlineData("""{"inputs":[{"name":"features","shape":[1,2],"datatype":"INT64","data":[1,2]}]}""", "inputs[0] 'features' has datatype INT64; send FP32.")]
    [InlineData("""{"inputs":[{"name":"features","shape":[1,2],"datatype":"fp32","data":[1,2]}]}""", "inputs[0].datatype 'fp32' is not taken here")]
    [InlineData("""{"inputs":[{"name":"features","shape":[1,3],"datatype":"FP32","data":[1,2,3]}]}""", "has shape [1, 3]; send [n, 2]: the features flight:distance, calendar:hour.")]
    [InlineData("""{"inputs":[{"name":"features","shape":[2],"datatype":"FP32","data":[1,2]}]}""", "has shape [2]; send [n, 2]")]
    [InlineData("""{"inputs":[{"name":"features","shape":[-1,2],"datatype":"FP32","data":[1,2]}]}""", "inputs[0].shape is not a list of one or two sizes")]
    [InlineData("""{"inputs":[{"name":"features","shape":[2,2],"datatype":"FP32","data":[1,2]}]}""", "'features'.data holds 2 values, but its shape [2, 2] says 4")]
    [InlineData("""{"inputs":[{"name":"features","shape":[1,2],"datatype":"FP32","data":[1,2,3]}]}""", "'features'.data holds more values than its shape [1, 2] says")]
    [InlineData("""{"inputs":[{"name":"features","shape":[1000000000,2],"datatype":"FP32","data":[1,2]}]}""", "more values than the body can hold")]
    [InlineData("""{"inputs":[{"name":"features","shape":[1,2],"datatype":"FP32","data":[1,"NaN"]}]}""", "'features'.data[1] (feature 'calendar:hour') is the text 'NaN'; send a finite number")]
    [InlineData("""{"inputs":[{"name":"features","shape":[1,2],"datatype":"FP32","data":[1,NaN]}]}""", "not valid JSON")]
    [InlineData("""{"inputs":[{"name":"features","shape":[1,2],"datatype":"FP32","data":[1,1e39]}]}""", "is 1e39; send a finite number that fits FP32")]
    [InlineData("""{"inputs":[{"name":"features","shape":[1,2],"datatype":"FP32","data":[null,1]}]}""", "(feature 'flight:distance') is null")]
    [InlineData("""{"inputs":[{"name":"features","shape":[1,2],"datatype":"FP32"}]}""", "inputs[0] has no 'data'")]
    [InlineData("""{"inputs":[{"shape":[1,2],"datatype":"FP32","data":[1,2]}]}""", "inputs[0] has no 'name'")]
    [InlineData("""{"inputs":[{"name":"features","shape":[1,2],"datatype":"FP32","data":[1,2]},{"name":"features","shape":[1,2],"datatype":"FP32","data":[1,2]}]}""", "does not go with the inputs before it")]
    [InlineData("""{"inputs":[{"name":"calendar:hour","shape":[1],"datatype":"FP32","data":[1]},{"name":"calendar:hour","shape":[1],"datatype":"FP32","data":[1]}]}""", "'calendar:hour' was sent twice")]
    [InlineData("""{"inputs":[{"name":"calendar:hour","shape":[1],"datatype":"FP32","data":[1]},{"name":"flight:distance","shape":[2],"datatype":"FP32","data":[1,2]}]}""", "'flight:distance' has 2 rows, but the inputs before it have 1")]
    [InlineData("""{"inputs":[{"name":"features","shape":[1,2],"datatype":"FP32","data":[1,2]}],"outputs":[{"name":"label"}]}""", "'outputs' asks for 'label'")]
    [InlineData("""{"inputs":[{"name":"features","shape":[1,2],"datatype":"FP32","data":[1,2]}],"parameters":{"entity_key":[1]}}""", "'parameters.entity_key' is neither text nor a number")]
    [InlineData("""{"id":7,"inputs":[]}""", "'id' is not text")]
    [InlineData("""{"id":"\ud800","inputs":[]}""", "not valid Unicode")]
    [InlineData("""{"inputs":[{"name":"features","shape":[1,2],"datatype":"FP32","data":[1,2]}],"inputs":[]}""", "'inputs' is there twice; send one list of tensors.")]
    [InlineData("""{"inputs":[{"name":"features","shape":[1,2],"datatype":"FP32","data":[1,2]}]} {}""", "not valid JSON")]
    [InlineData("""{"inputs":[{"name":"features","shape":[1,2],"datatype":"FP32","data":[1,2],"parameters":{"binary_data_size":8}}]}""", "binary data")]
    public async Task A_request_that_does_not_fit_the_signature_is_answered_400_with_the_field_and_the_fix(string body, string expected)
    {
        var host = serving.Host;

        var before = host.Router.Statistics(ServingHost.Model, "1.0.0").Snapshot().Requests;

        var (status, answer) = await host.InferAsync(body);

        Assert.Equal(400, status);
        Assert.Contains(expected, answer.GetProperty("error").GetString(), StringComparison.Ordinal);
        Assert.Equal(200, (await host.InferAsync(ServingHost.Matrix(1, 2))).Status);
        Assert.Equal(before + 1, host.Router.Statistics(ServingHost.Model, "1.0.0").Snapshot().Requests); // Only the good one.
    }

    [Fact]
    public async Task Nesting_deeper_than_the_shape_is_refused_however_deep_it_is()
    {
        var host = serving.Host;
        static string Body(int depth) =>
            $$"""{"inputs":[{"name":"features","shape":[1,2],"datatype":"FP32","data":{{new string('[', depth)}}1,2{{new string(']', depth)}}}]}""";

        Assert.Equal(200, (await host.InferAsync(Body(1))).Status);
        Assert.Equal(200, (await host.InferAsync(Body(2))).Status);
        Assert.Equal(400, (await host.InferAsync(Body(3))).Status);
        Assert.Equal(400, (await host.InferAsync(Body(50))).Status);
        Assert.Equal(400, (await host.InferAsync(Body(120))).Status);
        Assert.Equal(400, (await host.InferAsync(Body(100_000))).Status);
    }

    public sealed class Serving : IAsyncLifetime
    {
        internal ServingHost Host { get; private set; } = null!;

        public async ValueTask InitializeAsync() => Host = await ServingHost.StartServingAsync();

        public ValueTask DisposeAsync() => Host.DisposeAsync();
    }
}
