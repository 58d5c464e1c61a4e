using System.IO.Compression;
using System.Net;
using System.Text;
using Slipway.EndToEnd.Pages;

namespace Slipway.EndToEnd.BadInput;

/// <summary>Requests for predictions and labels that are wrong in every way a client gets them wrong.</summary>
[Collection(BadInputServer.Name)]
public sealed class InferenceTests(BadInputFixture server)
{
    private static readonly string Deep = new string('[', 10_000) + new string(']', 10_000);

    public static TheoryData<string, string> BadBodies => new()
    {
        { "", "not valid JSON" },
        { "null", "'inputs'" },
        { "[]", "'inputs'" },
        { "{\"inputs\":[{\"name\"", "not valid JSON" },
        { "{}", "'inputs' is missing" },
        { "{\"inputs\":[]}", "'inputs' is empty" },
        { "{\"inputs\":{}}", "'inputs' is not a list" },
        { Tensor("[1,2]", "FP17", "[500,12]"), "inputs[0].datatype 'FP17'" },
        { Tensor("[1,2]", "BYTES", "[500,12]"), "send FP32" },
        { Tensor("[1,3]", "FP32", "[1,2,3]"), "send [n, 2]" },
        { Tensor("[-1,2]", "FP32", "[500,12]"), "inputs[0].shape" },
        { Tensor("[2147483647,2]", "FP32", "[1]"), "more values than the body can hold" },
        { Tensor("[9223372036854775807,2]", "FP32", "[1]"), "inputs[0].shape" },
        { Tensor("[1,2]", "FP32", "[1]"), "holds 1 values" },
        { Tensor("[1,2]", "FP32", "[1,2,3]"), "more values" },
        { Tensor("[1,2]", "FP32", "[null,1]"), "is null" },
        { Tensor("[1,2]", "FP32", "[NaN,1]"), "not valid JSON" },
        { Tensor("[1,2]", "FP32", "[1e999,1]"), "finite" },
        { Tensor("[1,2]", "FP32", Deep), "'features'.data[0] holds a list, but its shape is [1, 2]" },
        { $$"""{"x":{{Deep}},"inputs":[]}""", "JSON nesting depth exceeds maximum allowed limit (100)" },
        { """{"parameters":{"entity_key":{}},"inputs":[]}""", "entity_key" },
        { """{"inputs":[{"name":"flight:distance","shape":[1],"datatype":"FP32","data":[3]}]}""", "'calendar:hour' is missing" },
        { """{"inputs":[{"name":"speed","shape":[1],"datatype":"FP32","data":[3]}]}""", "'speed' is not an input" },
        { """{"id":7,"inputs":[]}""", "'id' is not text" },
        { $$"""{"id":"{{new string('x', 5000)}}","inputs":[]}""", "'id' is longer" },
    };

    [Theory, MemberData(nameof(BadBodies)), Trait("capability", "SRV-01")]
    public async Task A_wrong_inference_request_is_told_which_field_is_wrong(string body, string words) =>
        await server.AssertRefusedAsync(await server.PostAsync(BadInputFixture.Infer, body), words);

    [Theory]
    [InlineData("{\"labels\":[null]}", "labels[0].id")]
    [InlineData("{\"labels\":[{\"label\":1}]}", "labels[0].id")]
    [InlineData("{\"labels\":[{\"id\":\"x\",\"label\":\"late\"}]}", "labels[0].label")]
    [InlineData("{\"labels\":[{\"id\":\"x\",\"label\":1e999}]}", "labels[0].label")]
    [InlineData("{\"labels\":[{\"id\":\"x\",\"label\":1,\"observed_at\":\"never\"}]}", "labels[0].observed_at")]
    [InlineData("{\"labels\":[]}", "'labels' holds 0")]
    [InlineData("{\"labels\":{}}", "'labels'")]
    [InlineData("null", "send a JSON object")]
    public async Task A_wrong_label_is_told_which_field_is_wrong(string body, string words) =>
        await server.AssertRefusedAsync(await server.PostAsync($"/v2/models/{Seed.Model}/labels", body), words);

    [Fact]
    public async Task A_hundred_thousand_labels_for_unknown_predictions_are_kept_and_one_more_is_refused()
    {
        static string Labels(int count) => $$"""{"labels":[{{string.Join(',', Enumerable.Range(0, count).Select(i => $$"""{"id":"u{{i}}","label":1}"""))}}]}""";

        Assert.Equal(HttpStatusCode.OK, (await server.PostAsync($"/v2/models/{Seed.Model}/labels", Labels(100_000))).Status);
        await server.AssertRefusedAsync(await server.PostAsync($"/v2/models/{Seed.Model}/labels", Labels(100_001)), "100,000");
    }

    [Theory]
    [InlineData("/v2/models/nope/infer", "'nope'")]
    [InlineData("/v2/models/nope/labels", "'labels'")]
    [InlineData("/v2/models/flight-delay/versions/9.9.9/infer", "'9.9.9'")]
    [InlineData("/v2/models/flight-delay/versions/99999999999999999999/infer", "no version")]
    public async Task An_unknown_model_or_version_is_named(string path, string words) =>
        await server.AssertRefusedAsync(await server.PostAsync(path, "{}"), words);

    [Fact]
    public async Task A_small_body_that_unpacks_to_half_a_gigabyte_is_refused_before_it_is_unpacked()
    {
        var packed = new MemoryStream();
        using (var gzip = new GZipStream(packed, CompressionLevel.Fastest, leaveOpen: true))
        {
            var spaces = Enumerable.Repeat((byte)' ', 1 << 20).ToArray();
            for (var i = 0; i < 500; i++)
            {
                gzip.Write(spaces);
            }
        }

        var bomb = new ByteArrayContent(packed.ToArray());
        bomb.Headers.ContentEncoding.Add("gzip");
        var answer = await server.SendAsync(HttpMethod.Post, BadInputFixture.Infer, bomb);

        Assert.Equal(HttpStatusCode.RequestEntityTooLarge, answer.Status);
        await server.AssertRefusedAsync(answer, "over the limit");
    }

    [Theory]
    [InlineData("gzip", "not gzip data")]
    [InlineData("br", "'br' is not taken")]
    public async Task A_body_that_is_not_what_its_encoding_says_is_refused(string encoding, string words)
    {
        var content = new ByteArrayContent(Encoding.UTF8.GetBytes("plain"));
        content.Headers.ContentEncoding.Add(encoding);
        await server.AssertRefusedAsync(await server.SendAsync(HttpMethod.Post, BadInputFixture.Infer, content), words);
    }

    private static string Tensor(string shape, string datatype, string data) =>
        $$"""{"inputs":[{"name":"features","shape":{{shape}},"datatype":"{{datatype}}","data":{{data}}}]}""";
}
