using System.Globalization;
using System.IO.Compression;
using System.Net;
using System.Net.Http.Headers;
using System.Runtime.InteropServices;
using System.Text;
using System.Text.Json;
using Slipway.Contracts;
using Slipway.Contracts.Serving;
using Slipway.Native.DuckDb;
using Slipway.Native.Onnx;
using Slipway.Serving;
using Slipway.Serving.Predictions;
using Slipway.Serving.Protocol;

namespace Slipway.Tests.Serving;

/// <summary>Models of any signature over REST: JSON and the binary tensor extension.</summary>
[Trait("database", "none")]
public sealed class TensorInferenceTests(TensorInferenceTests.Models models) : IClassFixture<TensorInferenceTests.Models>
{
    private const string HeaderLength = "Inference-Header-Content-Length";

    private static CancellationToken Cancel => TestContext.Current.CancellationToken;

    private ServingHost Host => models.Host;

    [Fact, Trait("capability", "SRV-01")]
    public async Task Several_named_inputs_give_several_named_outputs_of_their_own_datatype()
    {
        var (status, answer) = await Host.InferAsync(models.Simple(), models.Path("simple"));

        Assert.Equal(200, status);
        Assert.Equal("simple", answer.GetProperty("model_name").GetString());
        Assert.Equal(
            """[{"name":"OUTPUT0","datatype":"INT32","shape":[1,16],"data":[1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16]},{"name":"OUTPUT1","datatype":"INT32","shape":[1,16],"data":[-1,0,1,2,3,4,5,6,7,8,9,10,11,12,13,14]}]""",
            answer.GetProperty("outputs").GetRawText());
    }

    [Fact, Trait("capability", "SRV-01")]
    public async Task Metadata_and_contract_tell_the_graphs_own_names_shapes_and_datatypes()
    {
        var metadata = (await Host.Area.GetAsync(models.Path("simple")[..^"/infer".Length])).Body;
        Assert.Equal("""[{"name":"INPUT0","datatype":"INT32","shape":[-1,16]},{"name":"INPUT1","datatype":"INT32","shape":[-1,16]}]""", metadata.GetProperty("inputs").GetRawText());
        Assert.Equal("""[{"name":"OUTPUT0","datatype":"INT32","shape":[-1,16]},{"name":"OUTPUT1","datatype":"INT32","shape":[-1,16]}]""", metadata.GetProperty("outputs").GetRawText());

        foreach (var model in models.Names)
        {
            var contract = (await Host.Area.GetAsync($"/api/slipway/v1/models/{model}/versions/1.0.0/contract")).Body.Deserialize<InferenceContract>(JsonDefaults.Options)!;
            Assert.NotEmpty(contract.Tensors);
            if (contract.Tensors.All(tensor => tensor.Datatype != "FP16") && contract.Tensors.All(tensor => tensor.Shape.All(size => size is not 0)))
            {
                var (status, answer) = await Host.InferAsync(contract.ExampleRequest.ToJsonString(), contract.Path);
                Assert.True(status == 200, $"{model}: {answer}");
                Assert.Equal(contract.Outputs.Select(output => output.Name), answer.GetProperty("outputs").EnumerateArray().Select(output => output.GetProperty("name").GetString()));
            }
        }

        // A classifier's two answers are told as they are, though its input looks like features.
        metadata = (await Host.Area.GetAsync("/v2/models/classifier/versions/1.0.0")).Body;
        Assert.Equal("""[{"name":"label","datatype":"INT64","shape":[-1]},{"name":"probabilities","datatype":"FP32","shape":[-1,2]}]""", metadata.GetProperty("outputs").GetRawText());
    }

    [Theory, Trait("capability", "SRV-01")]
    [InlineData("INT32", "-2147483648")]
    [InlineData("INT64", "-9223372036854775808")]
    public async Task The_smallest_number_divided_by_minus_one_is_answered_and_does_not_end_the_server(string datatype, string smallest)
    {
        foreach (var (op, expected) in new[] { ("div", $"[{smallest},-7]"), ("mod", "[0,0]") })
        {
            var (status, answer) = await Host.InferAsync(
                $$"""{"inputs":[{"name":"A","shape":[2],"datatype":"{{datatype}}","data":[{{smallest}},7]},{"name":"B","shape":[1],"datatype":"{{datatype}}","data":[-1]}]}""", models.Path($"{op}-{datatype}"));

            Assert.True(status == 200, answer.ToString());
            Assert.Equal(expected, answer.GetProperty("outputs")[0].GetProperty("data").GetRawText());
        }
    }

    [Theory]
    [InlineData("BOOL", "[true,false,true]")]
    [InlineData("UINT8", "[0,128,255]")]
    [InlineData("UINT16", "[0,1,65535]")]
    [InlineData("UINT32", "[0,1,4294967295]")]
    [InlineData("UINT64", "[0,1,18446744073709551615]")]
    [InlineData("INT8", "[-128,0,127]")]
    [InlineData("INT16", "[-32768,0,32767]")]
    [InlineData("INT32", "[-2147483648,0,2147483647]")]
    [InlineData("INT64", "[-9223372036854775808,0,9223372036854775807]")]
    [InlineData("FP32", "[-1.5,0,3.25]")]
    [InlineData("FP64", "[-1.5,0,1E+300]")]
    [InlineData("BYTES", "[\"\",\"größer\",\"日本語\"]")]
    public async Task Every_datatype_comes_back_as_it_was_sent(string datatype, string data)
    {
        var (status, answer) = await Host.InferAsync($$"""{"inputs":[{"name":"IN","shape":[3],"datatype":"{{datatype}}","data":{{data}}}]}""", models.Path($"echo-{datatype}"));

        Assert.Equal(200, status);
        var output = answer.GetProperty("outputs")[0];
        Assert.Equal((datatype, "[3]"), (output.GetProperty("datatype").GetString(), output.GetProperty("shape").GetRawText()));
        Assert.Equal(data, output.GetProperty("data").GetRawText());
    }

    [Theory]
    [InlineData("UINT8", "[256]", "'IN'.data[0] is 256; send a whole number that fits UINT8.")]
    [InlineData("INT8", "[-129]", "send a whole number that fits INT8.")]
    [InlineData("INT64", "[1.5]", "'IN'.data[0] is 1.5; send a whole number that fits INT64.")]
    [InlineData("BOOL", "[1]", "'IN'.data[0] is 1; send true or false.")]
    [InlineData("FP32", "[1e39]", "send a finite number that fits FP32.")]
    [InlineData("FP32", "[\"NaN\"]", "'IN'.data[0] is the text 'NaN'")]
    [InlineData("BYTES", "[7]", "'IN'.data[0] is 7; send text, in quotes.")]
    [InlineData("BYTES", "[null]", "'IN'.data[0] is null; send text, in quotes.")]
    [InlineData("BYTES", "[\"a\\u0000b\"]", "'IN'.data[0] is the text 'a\\u0000b'; send text without a zero character.")]
    [InlineData("FP16", "[1]", "'IN'.data is FP16, which JSON has no numbers for; send it as bytes, with binary_data_size.")]
    public async Task A_value_that_does_not_fit_its_datatype_is_named(string datatype, string data, string expected)
    {
        var (status, answer) = await Host.InferAsync($$"""{"inputs":[{"name":"IN","shape":[1],"datatype":"{{datatype}}","data":{{data}}}]}""", models.Path($"echo-{datatype}"));

        Assert.Equal(400, status);
        Assert.Contains(expected, answer.GetProperty("error").GetString(), StringComparison.Ordinal);
    }

    [Theory, Trait("capability", "REG-11")]
    [InlineData("""[{"name":"INPUT0","shape":[1,16],"datatype":"INT32","data":DATA}]""", "Input 'INPUT1' is missing: expected 2 inputs but got 1; send 'INPUT0' INT32 [-1, 16], 'INPUT1' INT32 [-1, 16].")]
    [InlineData("""[{"name":"INPUT0","shape":[1,16],"datatype":"FP32","data":DATA},{"name":"INPUT1","shape":[1,16],"datatype":"INT32","data":DATA}]""", "inputs[0] 'INPUT0' has datatype FP32; send INT32 [-1, 16].")]
    [InlineData("""[{"name":"INPUT0","shape":[16],"datatype":"INT32","data":DATA},{"name":"INPUT1","shape":[1,16],"datatype":"INT32","data":DATA}]""", "inputs[0] 'INPUT0' has shape [16]; send INT32 [-1, 16]")]
    [InlineData("""[{"name":"INPUT0","shape":[2,8],"datatype":"INT32","data":DATA},{"name":"INPUT1","shape":[1,16],"datatype":"INT32","data":DATA}]""", "inputs[0] 'INPUT0' has shape [2, 8]; send INT32 [-1, 16]")]
    [InlineData("""[{"name":"INPUTX","shape":[1,16],"datatype":"INT32","data":DATA}]""", "inputs[0].name 'INPUTX' is not an input of model 'simple' version 1.0.0; send 'INPUT0'")]
    [InlineData("""[{"name":"INPUT0","shape":[1,16],"datatype":"INT32","data":DATA},{"name":"INPUT0","shape":[1,16],"datatype":"INT32","data":DATA}]""", "inputs[1] 'INPUT0' was sent twice")]
    [InlineData("""[{"name":"INPUT0","shape":[1,15],"datatype":"INT32","data":DATA}]""", "'INPUT0'.data holds more values than its shape says (15)")]
    [InlineData("""[{"name":"INPUT0","shape":[1,17],"datatype":"INT32","data":DATA}]""", "'INPUT0'.data holds 16 values, but its shape says 17")]
    [InlineData("""[{"name":"INPUT0","shape":[-1,16],"datatype":"INT32","data":DATA}]""", "inputs[0].shape holds -1: Unable to parse 'shape'")]
    [InlineData("""[{"name":"INPUT0","shape":[2147483648,2147483648,4294967296],"datatype":"INT32","data":DATA}]""", "byte size overflow for input 'INPUT0'")]
    [InlineData("""[{"name":"INPUT0","shape":[9223372036854775807,2],"datatype":"INT32","data":DATA}]""", "byte size overflow for input 'INPUT0'")]
    [InlineData("""[{"name":"INPUT0","shape":[0,9223372036854775807],"datatype":"INT32","data":[]}]""", "byte size overflow for input 'INPUT0'")]
    [InlineData("""[{"name":"INPUT0","shape":[1,1000000000],"datatype":"INT8","data":DATA}]""", "'INPUT0'.data holds 16 values, but its shape says 1000000000")]
    [InlineData("""[{"name":"INPUT0","shape":[1,16],"datatype":"INT128","data":DATA}]""", "inputs[0].datatype is the text 'INT128', which is unknown; send one of BOOL, UINT8")]
    [InlineData("""[{"name":"INPUT0","shape":[1,16],"datatype":"INT32"}]""", "inputs[0] has no 'data'")]
    [InlineData("""[{"name":"INPUT0","shape":[1,16],"datatype":"INT32","parameters":{"shared_memory_region":"x"}}]""", "names a shared memory region, which this server does not read")]
    [InlineData("""[7]""", "inputs[0] is not an object")]
    [InlineData("""7""", "'inputs' is not a list")]
    public async Task A_request_that_does_not_fit_names_the_input_and_what_was_expected(string inputs, string expected)
    {
        var (status, answer) = await Host.InferAsync($$"""{"inputs":{{inputs.Replace("DATA", "[0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15]", StringComparison.Ordinal)}}}""", models.Path("simple"));

        Assert.Equal(400, status);
        Assert.Contains(expected, answer.GetProperty("error").GetString(), StringComparison.Ordinal);
        Assert.Equal(200, (await Host.Area.GetAsync("/v2/health/live")).Status);
    }

    [Theory]
    [InlineData("[2,3]", "[[1,2],[3,4],[5,6]]", "'IN'.data[0] holds 2 values, but its shape is [2, 3]; send the values flat, or nested as the shape says.")]
    [InlineData("[2,3]", "[[1,2,3],[4,5]]", "'IN'.data[1] holds 2 values, but its shape is [2, 3]")]
    [InlineData("[2,3]", "[[1,2,3,4],[5,6]]", "'IN'.data[0] holds more than 3 values, but its shape is [2, 3]")]
    [InlineData("[2,3]", "[[1,2,3,4,5,6]]", "'IN'.data[0] holds more than 3 values")]
    [InlineData("[2,3]", "[[1,2,3]]", "'IN'.data holds 1 list, but its shape is [2, 3]")]
    [InlineData("[2,3]", "[[1,2,3],[4,5,6],[]]", "'IN'.data holds more than 2 lists")]
    [InlineData("[2,3]", "[[1,2,3],4,5,6]", "'IN'.data[1] is no list")]
    [InlineData("[2,3]", "[1,2,3,[4,5,6]]", "'IN'.data[3] is a list; send a whole number")]
    [InlineData("[2,3]", "[[[1,2,3],[4,5,6]]]", "'IN'.data[0][0] is a list, but its shape is [2, 3]")]
    [InlineData("[2,3]", "[[1,2,3],[4,[5],6]]", "'IN'.data[1][1] is a list")]
    [InlineData("[1,6]", "[[],[1,2,3,4,5,6]]", "'IN'.data[0] holds 0 values")]
    [InlineData("[2,0]", "[[]]", "'IN'.data holds 1 list, but its shape is [2, 0]")]
    [InlineData("[0,2]", "[[]]", "'IN'.data holds more than 0 lists")]
    public async Task Values_that_are_nested_otherwise_than_their_shape_are_refused(string shape, string data, string expected) =>
        Assert.Contains(expected, await RefusedAsync($$"""{"inputs":[{"name":"IN","shape":{{shape}},"datatype":"INT32","data":{{data}}}]}""", "table"), StringComparison.Ordinal);

    [Theory]
    [InlineData("[2,3]", "[[1,2,3],[4,5,6]]", "[1,2,3,4,5,6]")]
    [InlineData("[2,3]", "[1,2,3,4,5,6]", "[1,2,3,4,5,6]")]
    [InlineData("[3,1]", "[[1],[2],[3]]", "[1,2,3]")]
    [InlineData("[2,0]", "[[],[]]", "[]")]
    [InlineData("[0,2]", "[]", "[]")]
    public async Task Values_come_flat_or_nested_as_their_shape(string shape, string data, string expected)
    {
        var (status, answer) = await Host.InferAsync($$"""{"inputs":[{"name":"IN","shape":{{shape}},"datatype":"INT32","data":{{data}}}]}""", models.Path("table"));

        Assert.True(status == 200, answer.ToString());
        Assert.Equal(expected, answer.GetProperty("outputs")[0].GetProperty("data").GetRawText());
    }

    [Fact]
    public async Task Sizes_that_the_graph_gives_one_name_have_to_be_the_same()
    {
        const string Body = """{"inputs":[{"name":"INPUT0","shape":[2],"datatype":"FP32","data":[1,2]},{"name":"INPUT1","shape":[3],"datatype":"FP32","data":[1,2,3]}]}""";
        Assert.Equal("inputs[1] 'INPUT1' has the size 3 in dimension 0, 'batch', where 'INPUT0' has 2; send the same size in both.", await RefusedAsync(Body, "named"));

        var (status, answer) = await Host.InferAsync(Body, models.Path("mismatch"));

        // Without such names only the runtime can tell; its refusal is a failure of the run, told without its insides.
        Assert.Equal(500, status);
        Assert.Contains("failed on this request", answer.GetProperty("error").GetString(), StringComparison.Ordinal);
        Assert.Equal(200, (await Host.InferAsync("""{"inputs":[{"name":"INPUT0","shape":[1],"datatype":"FP32","data":[1]},{"name":"INPUT1","shape":[1],"datatype":"FP32","data":[2]}]}""", models.Path("mismatch"))).Status);
    }

    [Fact]
    public async Task Outputs_are_those_asked_for_in_that_order_and_each_once()
    {
        static string With(string outputs) => Models.SimpleJson.Replace("""{"inputs":""", $$"""{"outputs":{{outputs}},"inputs":""", StringComparison.Ordinal);

        var (_, answer) = await Host.InferAsync(With("""[{"name":"OUTPUT1"},{"name":"OUTPUT0"}]"""), models.Path("simple"));
        Assert.Equal(["OUTPUT1", "OUTPUT0"], answer.GetProperty("outputs").EnumerateArray().Select(output => output.GetProperty("name").GetString()));
        (_, answer) = await Host.InferAsync(With("""[{"name":"OUTPUT1"}]"""), models.Path("simple"));
        Assert.Equal(1, answer.GetProperty("outputs").GetArrayLength());

        Assert.Equal("output 'OUTPUT0' already exists in request; ask for it once.", await RefusedAsync(With("""[{"name":"OUTPUT0"},{"name":"OUTPUT0"}]""")));
        Assert.Contains("outputs[0] asks for 'OUTPUT7'", await RefusedAsync(With("""[{"name":"OUTPUT7"}]""")), StringComparison.Ordinal);
        Assert.Contains("asks for 'classification', which is not built", await RefusedAsync(With("""[{"name":"OUTPUT0","parameters":{"classification":1}}]""")), StringComparison.Ordinal);
        Assert.Contains("outputs[0] has no 'name'", await RefusedAsync(With("[{}]")), StringComparison.Ordinal);
    }

    [Fact]
    public async Task Any_rank_is_taken_and_nesting_ends_at_a_hundred()
    {
        long[] shape = [1, 2, 1, 1, 1, 2, 1, 1, 1, 1];
        var (status, answer) = await Host.InferAsync($$"""{"inputs":[{"name":"IN","shape":[{{string.Join(',', shape)}}],"datatype":"FP32","data":[1,2,3,4]}]}""", models.Path("rank10"));
        Assert.Equal((200, "[1,2,1,1,1,2,1,1,1,1]"), (status, answer.GetProperty("outputs")[0].GetProperty("shape").GetRawText()));

        var (nested, same) = await Host.InferAsync($$"""{"inputs":[{"name":"IN","shape":[{{string.Join(',', shape)}}],"datatype":"FP32","data":[[[[[[[[[[1]]]],[[[[2]]]]]]]],[[[[[[[[3]]]],[[[[4]]]]]]]]]]}]}""", models.Path("rank10"));
        Assert.Equal((200, "[1,2,3,4]"), (nested, same.GetProperty("outputs")[0].GetProperty("data").GetRawText()));

        static string Nested(int depth) => $$"""{"inputs":[{"name":"IN","shape":[1],"datatype":"INT32","data":{{new string('[', depth)}}1{{new string(']', depth)}}}]}""";
        Assert.Contains("'IN'.data[0] is a list, but its shape is [1]", await RefusedAsync(Nested(50), "echo-INT32"), StringComparison.Ordinal);
        Assert.Contains("JSON nesting depth exceeds maximum allowed limit (100)", await RefusedAsync(Nested(120), "echo-INT32"), StringComparison.Ordinal);
        Assert.Contains("JSON nesting depth exceeds", await RefusedAsync(Nested(200_000), "echo-INT32"), StringComparison.Ordinal);
    }

    [Fact, Trait("capability", "SRV-01")]
    public async Task Tensors_go_and_come_as_bytes()
    {
        var zero = MemoryMarshal.AsBytes<int>(Enumerable.Range(0, 16).ToArray()).ToArray();
        var json = """
            {"inputs":[{"name":"INPUT0","shape":[1,16],"datatype":"INT32","parameters":{"binary_data_size":64}},{"name":"INPUT1","shape":[1,16],"datatype":"INT32","parameters":{"binary_data_size":64}}],
             "outputs":[{"name":"OUTPUT0","parameters":{"binary_data":true}},{"name":"OUTPUT1","parameters":{"binary_data":false}}]}
            """;

        var (response, body) = await BinaryAsync("simple", json, [.. zero, .. zero]);

        Assert.Equal(HttpStatusCode.OK, response.StatusCode);
        Assert.Equal("application/octet-stream", response.Content.Headers.ContentType!.MediaType);
        var (answer, tail) = Split(response, body);
        Assert.Equal("""[{"name":"OUTPUT0","datatype":"INT32","shape":[1,16],"parameters":{"binary_data_size":64}},{"name":"OUTPUT1","datatype":"INT32","shape":[1,16],"data":[0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0]}]""",
            answer.GetProperty("outputs").GetRawText());
        Assert.Equal(Enumerable.Range(0, 16).Select(i => 2 * i), MemoryMarshal.Cast<byte, int>(tail).ToArray());

        // For all outputs at once, and for a JSON request too.
        (response, body) = await BinaryAsync("simple", Models.SimpleJson.Replace("""{"inputs":""", """{"parameters":{"binary_data_output":true},"inputs":""", StringComparison.Ordinal), [], header: null);
        (answer, tail) = Split(response, body);
        Assert.Equal(128, tail.Length);
    }

    [Theory]
    [InlineData("FP16", 2)]
    [InlineData("BOOL", 1)]
    [InlineData("UINT64", 8)]
    public async Task Bytes_of_a_datatype_come_back_as_they_were_sent(string datatype, int size)
    {
        var bytes = Enumerable.Range(0, 3 * size).Select(i => (byte)(datatype == "BOOL" ? i % 2 : i + 1)).ToArray();
        var json = $$"""{"parameters":{"binary_data_output":true},"inputs":[{"name":"IN","shape":[3],"datatype":"{{datatype}}","parameters":{"binary_data_size":{{bytes.Length}} } }]}""";

        var (response, body) = await BinaryAsync($"echo-{datatype}", json, bytes);

        Assert.Equal(HttpStatusCode.OK, response.StatusCode);
        Assert.Equal(bytes, Split(response, body).Tail);
    }

    [Fact]
    public async Task Texts_come_as_length_and_bytes_and_need_not_be_unicode()
    {
        byte[] bytes = [2, 0, 0, 0, 0xFF, 0xFE, 0, 0, 0, 0, 1, 0, 0, 0, (byte)'x'];
        const string Json = """{"PARAMETERS","inputs":[{"name":"IN","shape":[3],"datatype":"BYTES","parameters":{"binary_data_size":15}}]}""";

        var (response, body) = await BinaryAsync("echo-BYTES", Json.Replace("\"PARAMETERS\"", "\"parameters\":{\"binary_data_output\":true}", StringComparison.Ordinal), bytes);
        Assert.Equal(bytes, Split(response, body).Tail);

        (response, body) = await BinaryAsync("echo-BYTES", Json.Replace("\"PARAMETERS\",", "", StringComparison.Ordinal), bytes);
        Assert.Equal(HttpStatusCode.BadRequest, response.StatusCode);
        Assert.Contains("Output 'OUT' holds bytes that are not text, which JSON cannot carry; ask for it as bytes", Encoding.UTF8.GetString(body), StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_number_that_json_cannot_carry_is_answered_as_bytes_or_told()
    {
        var nan = MemoryMarshal.AsBytes<float>(new[] { float.NaN }).ToArray();
        const string Inputs = "\"inputs\":[{\"name\":\"IN\",\"shape\":[1],\"datatype\":\"FP32\",\"parameters\":{\"binary_data_size\":4}}]";

        var (response, body) = await BinaryAsync("echo-FP32", "{" + Inputs + "}", nan);
        Assert.Equal(HttpStatusCode.BadRequest, response.StatusCode);
        Assert.Contains("not a finite number", Encoding.UTF8.GetString(body), StringComparison.Ordinal);

        (response, body) = await BinaryAsync("echo-FP32", "{\"parameters\":{\"binary_data_output\":true}," + Inputs + "}", nan);
        Assert.Equal(nan, Split(response, body).Tail);
    }

    [Theory]
    [InlineData("99999999999", 64, 64, "Inference-Header-Content-Length is '99999999999', but the body has")]
    [InlineData("-1", 64, 64, "Inference-Header-Content-Length is '-1'")]
    [InlineData("x", 64, 64, "Inference-Header-Content-Length is 'x'")]
    [InlineData(null, 63, 64, "'INPUT0' has 63 bytes, but 16 values of INT32 take 64")]
    [InlineData(null, 64, 65, "The body has 1 bytes more")]
    [InlineData(null, 65, 64, "'INPUT0' has 65 bytes, but 16 values of INT32 take 64")]
    [InlineData(null, 200, 64, "binary_data_size 200, but the body has 128 bytes left")]
    public async Task Bytes_that_do_not_add_up_are_refused(string? header, int size, int bytes, string expected)
    {
        var json = $$"""{"inputs":[{"name":"INPUT0","shape":[1,16],"datatype":"INT32","parameters":{"binary_data_size":{{size}} } },{"name":"INPUT1","shape":[1,16],"datatype":"INT32","parameters":{"binary_data_size":64} }]}""";

        var (response, body) = await BinaryAsync("simple", json, new byte[64 + bytes], header ?? "right");

        Assert.Equal(HttpStatusCode.BadRequest, response.StatusCode);
        Assert.Contains(expected, Encoding.UTF8.GetString(body), StringComparison.Ordinal);
        Assert.Equal(200, (await Host.Area.GetAsync("/v2/health/live")).Status);
    }

    [Fact]
    public void A_model_with_thousands_of_outputs_is_refused()
    {
        using var session = OnnxSession.Load(TensorModels.Fan(4_096), new OnnxSessionOptions { Optimize = false });

        Assert.Equal("it has 4097 inputs and outputs, and at most 4096 are served", Assert.Throws<OnnxException>(() => new OnnxTensors(session)).Message);
    }

    [Fact]
    public async Task A_flag_that_is_neither_0_nor_1_is_refused()
    {
        const string Json = """{"inputs":[{"name":"IN","shape":[3],"datatype":"BOOL","parameters":{"binary_data_size":3}}]}""";

        var (response, body) = await BinaryAsync("echo-BOOL", Json, [0, 255, 1]);

        Assert.Equal(HttpStatusCode.BadRequest, response.StatusCode);
        Assert.Contains("'IN' has the byte 255 as its element 1; send 0 for false or 1 for true.", Encoding.UTF8.GetString(body), StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_body_of_bytes_alone_is_the_one_input()
    {
        var (response, body) = await BinaryAsync("echo-FP32", "", MemoryMarshal.AsBytes<float>(new[] { 1f, 2, 3 }).ToArray(), "0");
        var (answer, tail) = Split(response, body);
        Assert.Equal("[3]", answer.GetProperty("outputs")[0].GetProperty("shape").GetRawText());
        Assert.Equal([1f, 2, 3], MemoryMarshal.Cast<byte, float>(tail).ToArray());

        (response, body) = await BinaryAsync("echo-BYTES", "", "427"u8.ToArray(), "0");
        Assert.Equal([3, 0, 0, 0, .. "427"u8], Split(response, body).Tail);

        foreach (var (model, bytes, expected) in new (string, int, string)[]
        {
            ("simple", 128, "A body of bytes alone is for models with one input; 'simple' has 2"),
            ("echo-FP32", 7, "Input 'IN' has 7 bytes, which is no multiple of 4"),
            ("echo-BOOL", 4, "'IN' has the byte 2 as its element 3; send 0 for false or 1 for true."),
            ("rank10", 4, "which has 10 variable dimensions"),
            ("texts", 4, "A body of bytes alone is one element, but input 'IN' is BYTES [-1, 2]"),
        })
        {
            (response, body) = await BinaryAsync(model, "", [.. new byte[bytes - 1], 2], "0");
            Assert.Equal(HttpStatusCode.BadRequest, response.StatusCode);
            Assert.Contains(expected, Encoding.UTF8.GetString(body), StringComparison.Ordinal);
        }
    }

    [Fact]
    public async Task Features_come_and_go_as_bytes_too()
    {
        const string Json = """{"parameters":{"binary_data_output":true},"inputs":[{"name":"features","shape":[2,2],"datatype":"FP32","parameters":{"binary_data_size":16}}]}""";
        var bytes = MemoryMarshal.AsBytes<float>(new[] { 100f, 1, 200, 2 }).ToArray();

        var (response, body) = await BinaryAsync(ServingHost.Model, Json, bytes);

        var (answer, tail) = Split(response, body);
        Assert.Equal("[2,1]", answer.GetProperty("outputs")[0].GetProperty("shape").GetRawText());
        Assert.Equal(1 / (1 + Math.Exp(-0.1)), MemoryMarshal.Cast<byte, float>(tail)[0], 5);
        (response, body) = await BinaryAsync(ServingHost.Model, "", bytes, "0");
        Assert.Equal(tail, Split(response, body).Tail);

        (response, body) = await BinaryAsync(ServingHost.Model, Json, MemoryMarshal.AsBytes<float>(new[] { 100f, float.NaN, 200, 2 }).ToArray());
        Assert.Equal(HttpStatusCode.BadRequest, response.StatusCode);
        Assert.Contains("'features' value 1 (feature 'calendar:hour') is not a number", Encoding.UTF8.GetString(body), StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("gzip", "gzip")]
    [InlineData("deflate", "deflate")]
    [InlineData("gzip, deflate", "gzip")]
    [InlineData("gzip;q=0.1, deflate;q=0.5", "deflate")]
    [InlineData("identity", null)]
    [InlineData("gzip;q=0", null)]
    [InlineData("br", null)]
    public async Task An_answer_is_compressed_when_asked_for_and_an_error_never(string accepted, string? expected)
    {
        foreach (var path in new[] { models.Path("simple"), models.Path("nothing"), $"/v2/models/{ServingHost.Model}/infer" })
        {
            using var request = new HttpRequestMessage(HttpMethod.Post, path) { Content = new StringContent(Models.SimpleJson) };
            if (path.Contains(ServingHost.Model, StringComparison.Ordinal))
            {
                request.Content = new StringContent(JsonSerializer.Serialize(ServingHost.Matrix(1, 2)));
            }

            request.Headers.TryAddWithoutValidation("Accept-Encoding", accepted);
            using var response = await Host.Area.Client.SendAsync(request, Cancel);
            var bytes = await response.Content.ReadAsByteArrayAsync(Cancel);
            var encoding = response.Content.Headers.ContentEncoding.SingleOrDefault();
            Assert.Equal(response.IsSuccessStatusCode ? expected : null, encoding);
            using Stream plain = encoding switch
            {
                "gzip" => new GZipStream(new MemoryStream(bytes), CompressionMode.Decompress),
                "deflate" => new ZLibStream(new MemoryStream(bytes), CompressionMode.Decompress),
                _ => new MemoryStream(bytes),
            };
            Assert.True(JsonDocument.Parse(plain).RootElement.TryGetProperty(response.IsSuccessStatusCode ? "outputs" : "error", out _) || path.Contains("nothing", StringComparison.Ordinal));
        }
    }

    [Theory]
    [InlineData("gzip")]
    [InlineData("deflate")]
    public async Task A_compressed_body_may_hold_bytes_behind_its_json(string encoding)
    {
        const string Json = """{"inputs":[{"name":"IN","shape":[2],"datatype":"INT32","parameters":{"binary_data_size":8}}]}""";
        var packed = new MemoryStream();
        await using (Stream stream = encoding == "gzip" ? new GZipStream(packed, CompressionLevel.Fastest, leaveOpen: true) : new ZLibStream(packed, CompressionLevel.Fastest, leaveOpen: true))
        {
            await stream.WriteAsync(Encoding.UTF8.GetBytes(Json), Cancel);
            await stream.WriteAsync(new byte[] { 1, 0, 0, 0, 2, 0, 0, 0 }, Cancel);
        }

        using var request = new HttpRequestMessage(HttpMethod.Post, models.Path("echo-INT32") + "?query=ignored") { Content = new ByteArrayContent(packed.ToArray()) };
        request.Content.Headers.ContentEncoding.Add(encoding);
        request.Headers.TryAddWithoutValidation(HeaderLength, Json.Length.ToString(CultureInfo.InvariantCulture));
        using var response = await Host.Area.Client.SendAsync(request, Cancel);

        Assert.Contains("\"data\":[1,2]", await response.Content.ReadAsStringAsync(Cancel), StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_bomb_of_zeros_is_stopped_at_the_limit()
    {
        await using var host = await ServingHost.StartServingAsync(options => options.BodyBytesMax = 1 << 20);
        var bomb = new MemoryStream();
        await using (var gzip = new GZipStream(bomb, CompressionLevel.SmallestSize, leaveOpen: true))
        {
            await gzip.WriteAsync(new byte[200 << 20], Cancel);
        }

        using var content = new ByteArrayContent(bomb.ToArray()) { Headers = { ContentEncoding = { "gzip" } } };
        using var response = await host.Area.Client.PostAsync($"/v2/models/{ServingHost.Model}/infer", content, Cancel);

        Assert.Equal(HttpStatusCode.RequestEntityTooLarge, response.StatusCode);

        // What it takes until then, on this thread: other tests allocate meanwhile.
        var (thread, before) = (Environment.CurrentManagedThreadId, GC.GetAllocatedBytesForCurrentThread());
        var (bytes, fault) = await CompressedBody.ReadAsync(new MemoryStream(bomb.ToArray()), "gzip", 1 << 20, Cancel);
        var taken = GC.GetAllocatedBytesForCurrentThread() - before;

        Assert.Equal((InflateFault.TooLarge, true, thread), (fault, bytes.IsEmpty, Environment.CurrentManagedThreadId));
        Assert.InRange(taken, 0, 8 << 20);
    }

    [Fact, Trait("capability", "SRV-06")]
    public async Task A_model_of_tensors_is_routed_counted_and_logged_like_any_other()
    {
        await using var host = await ServingHost.StartAsync();
        var loader = host.Area.Service<ModelLoader>();
        var first = await host.RegisterTensorsAsync(TensorModels.SumAndDifference(), "simple");
        var second = await host.RegisterTensorsAsync(TensorModels.Echo(OnnxElementType.Float, -1, 1), "simple");
        host.Router.SetStable(loader.Load("simple", first.Version));
        host.Router.SetCandidate("simple", second.Version, share: 0.5, shadow: false, salt: "s");

        var arms = new HashSet<string>();
        for (var i = 0; i < 40; i++)
        {
            // Each key meets one version; the other's inputs are refused by name.
            var (status, answer) = await host.InferAsync(Models.SimpleJson.Replace("""{"inputs":""", $$"""{"parameters":{"entity_key":"user-{{i}}"},"inputs":""", StringComparison.Ordinal), "/v2/models/simple/infer");
            arms.Add(status == 200 ? answer.GetProperty("parameters").GetProperty("arm").GetString()! : answer.GetProperty("error").GetString()!);
        }

        Assert.Equal(["inputs[0].name 'INPUT0' is not an input of model 'simple' version 2.0.0; send 'IN' as FP32 [n, 1], or one FP32 tensor per feature (f0).", "stable"], arms.Order());
        var answered = host.Router.Statistics("simple", first.Version).Snapshot().Requests;
        Assert.InRange(answered, 8, 32);
        var log = host.Area.Service<PredictionLog>();
        await log.FlushAsync(Cancel);
        var segment = Assert.Single(log.Segments("simple", DateTimeOffset.MinValue, DateTimeOffset.MaxValue));
        Assert.Equal($"{answered} {answered} stable true", Assert.Single(PredictionLogTests.Query(
            $"SELECT concat_ws(' ', count(*), count(DISTINCT prediction_id), min(arm), bool_and(entity_key LIKE 'user-%' AND (output IS NULL OR isnan(output)))) FROM {DuckDbLiteral.Quote(segment)}"))[0]);
    }

    private async Task<string> RefusedAsync(string body, string model = "simple")
    {
        var (status, answer) = await Host.InferAsync(body, models.Path(model));
        Assert.Equal(400, status);
        return answer.GetProperty("error").GetString()!;
    }

    private async Task<(HttpResponseMessage Response, byte[] Body)> BinaryAsync(string model, string json, byte[] tail, string? header = "right")
    {
        using var request = new HttpRequestMessage(HttpMethod.Post, model == ServingHost.Model ? $"/v2/models/{model}/infer" : models.Path(model));
        request.Content = new ByteArrayContent([.. Encoding.UTF8.GetBytes(json), .. tail]);
        request.Content.Headers.ContentType = new MediaTypeHeaderValue("application/octet-stream");
        if (header is not null)
        {
            request.Headers.TryAddWithoutValidation(HeaderLength, header == "right" ? Encoding.UTF8.GetByteCount(json).ToString(CultureInfo.InvariantCulture) : header);
        }

        var response = await Host.Area.Client.SendAsync(request, Cancel);
        return (response, await response.Content.ReadAsByteArrayAsync(Cancel));
    }

    private static (JsonElement Json, byte[] Tail) Split(HttpResponseMessage response, byte[] body)
    {
        Assert.True(response.IsSuccessStatusCode, Encoding.UTF8.GetString(body));
        var length = int.Parse(response.Headers.GetValues(HeaderLength).Single(), CultureInfo.InvariantCulture);
        return (JsonDocument.Parse(body.AsMemory(0, length)).RootElement, body[length..]);
    }

    public sealed class Models : IAsyncLifetime
    {
        public const string SimpleJson =
            """{"inputs":[{"name":"INPUT0","shape":[1,16],"datatype":"INT32","data":[0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15]},{"name":"INPUT1","shape":[1,16],"datatype":"INT32","data":[[1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1]]}]}""";

        internal ServingHost Host { get; private set; } = null!;

        public List<string> Names { get; } = [];

        public string Path(string model) => $"/v2/models/{model}/versions/1.0.0/infer";

        public string Simple() => SimpleJson;

        public async ValueTask InitializeAsync()
        {
            Host = await ServingHost.StartServingAsync(options => options.PinnedVersionsMax = 64);
            await AddAsync("simple", TensorModels.SumAndDifference());
            await AddAsync("mismatch", TensorModels.SumAndDifference(OnnxElementType.Float, null, -1));
            await AddAsync("named", TensorModels.SumAndDifference(OnnxElementType.Float, "batch", -1));
            await AddAsync("rank10", TensorModels.Echo(OnnxElementType.Float, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1));
            await AddAsync("texts", TensorModels.Echo(OnnxElementType.String, -1, 2));
            await AddAsync("table", TensorModels.Echo(OnnxElementType.Int32, -1, -1));
            await AddAsync("classifier", TensorModels.Classifier());
            foreach (var type in new[] { OnnxElementType.Int32, OnnxElementType.Int64 })
            {
                // Not among the names: the zeros of a contract's example are nothing to divide by.
                await Host.RegisterTensorsAsync(TensorModels.Quotient("Div", type), $"div-{type.ToString().ToUpperInvariant()}");
                await Host.RegisterTensorsAsync(TensorModels.Quotient("Mod", type), $"mod-{type.ToString().ToUpperInvariant()}");
            }

            foreach (var (name, type) in new (string, OnnxElementType)[]
            {
                ("BOOL", OnnxElementType.Bool), ("UINT8", OnnxElementType.UInt8), ("UINT16", OnnxElementType.UInt16), ("UINT32", OnnxElementType.UInt32), ("UINT64", OnnxElementType.UInt64),
                ("INT8", OnnxElementType.Int8), ("INT16", OnnxElementType.Int16), ("INT32", OnnxElementType.Int32), ("INT64", OnnxElementType.Int64), ("FP16", OnnxElementType.Float16),
                ("FP32", OnnxElementType.Float), ("FP64", OnnxElementType.Double), ("BYTES", OnnxElementType.String),
            })
            {
                await AddAsync($"echo-{name}", TensorModels.Echo(type, -1));
            }
        }

        public ValueTask DisposeAsync() => Host.DisposeAsync();

        private async Task AddAsync(string name, byte[] onnx)
        {
            await Host.RegisterTensorsAsync(onnx, name);
            Names.Add(name);
        }
    }
}
