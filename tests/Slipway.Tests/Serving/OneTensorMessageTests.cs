using System.Buffers;
using System.Runtime.InteropServices;
using System.Text;
using Google.Protobuf;
using Slipway.Serving.Grpc;
using Slipway.Serving.Protocol;

namespace Slipway.Tests.Serving;

/// <summary>The ordinary gRPC message, read and answered in place, against Google's own reader and writer.</summary>
public sealed class OneTensorMessageTests
{
    private static ModelInferRequest Request(string name, string id, params float[] values)
    {
        var request = new ModelInferRequest { ModelName = ServingHost.Model, Id = id, RawInputContents = { ByteString.CopyFrom(MemoryMarshal.AsBytes(values.AsSpan())) } };
        request.Inputs.Add(new ModelInferRequest.Types.InferInputTensor { Name = name, Datatype = "FP32", Shape = { values.Length / 2, 2 } });
        return request;
    }

    [Fact, Trait("database", "none")]
    public void What_it_reads_is_what_the_message_says_however_the_bytes_are_broken()
    {
        var random = new Random(11);
        var flat = Request("features", "", 1, 2);
        flat.Inputs[0].Shape.Clear();
        flat.Inputs[0].Shape.Add(2);
        byte[][] whole = [Request("features", "", 1, 2).ToByteArray(), Request("x", "an-id-of-its-own", 1, 2, 3, 4).ToByteArray(), flat.ToByteArray()];
        var (read, refused) = (0, 0);
        for (var i = 0; i < 200_000; i++)
        {
            var bytes = whole[i % whole.Length].ToArray();
            switch (i % 5)
            {
                case 1:
                    bytes = bytes[..random.Next(bytes.Length)];
                    break;
                case 2 or 3:
                    for (var change = random.Next(1, 3); change > 0; change--)
                    {
                        bytes[random.Next(bytes.Length)] = (byte)(random.Next(2) == 0 ? random.Next(256) : random.Next(0x40));
                    }

                    break;
                case 4:
                    bytes = [.. bytes[..random.Next(bytes.Length)], .. whole[random.Next(whole.Length)].AsSpan(random.Next(8))];
                    break;
            }

            if (!OneTensorMessage.TryRead(bytes, out var one))
            {
                refused++;
                continue;
            }

            read++;
            var message = ModelInferRequest.Parser.ParseFrom(bytes);
            var input = Assert.Single(message.Inputs);
            Assert.Equal(message.ModelName, Encoding.ASCII.GetString(one.Model));
            Assert.Equal(message.ModelVersion, Encoding.ASCII.GetString(one.Version));
            Assert.Equal(message.Id, Encoding.ASCII.GetString(one.Id));
            Assert.Equal((input.Name, "FP32"), (Encoding.ASCII.GetString(one.Name), input.Datatype));
            Assert.Equal(input.Shape.Select(size => (int)size), one.Rank == 1 ? [one.Rows] : [one.Rows, one.Columns]);
            Assert.Equal(Assert.Single(message.RawInputContents).Span, one.Data);
            Assert.Equal((0, 0, null), (message.Parameters.Count + input.Parameters.Count, message.Outputs.Count, input.Contents));
        }

        Assert.True(read > 40_000 && refused > 40_000, $"{read} read, {refused} refused");
    }

    [Theory, Trait("database", "none")]
    [InlineData("contents")]
    [InlineData("parameters")]
    [InlineData("outputs")]
    [InlineData("two inputs")]
    [InlineData("another datatype")]
    [InlineData("a size of none")]
    [InlineData("too few bytes")]
    [InlineData("three dimensions")]
    public void All_else_is_for_the_general_reader(string what)
    {
        var request = Request("features", "", 1, 2);
        Assert.True(OneTensorMessage.TryRead(request.ToByteArray(), out _));
        switch (what)
        {
            case "contents":
                request.Inputs[0].Contents = new InferTensorContents { Fp32Contents = { 1, 2 } };
                break;
            case "parameters":
                request.Parameters["entity_key"] = new InferParameter { StringParam = "user-1" };
                break;
            case "outputs":
                request.Outputs.Add(new ModelInferRequest.Types.InferRequestedOutputTensor { Name = "probability" });
                break;
            case "two inputs":
                request.Inputs.Add(request.Inputs[0].Clone());
                break;
            case "another datatype":
                request.Inputs[0].Datatype = "FP64";
                break;
            case "a size of none":
                request.Inputs[0].Shape[0] = 0;
                request.RawInputContents[0] = ByteString.Empty;
                break;
            case "too few bytes":
                request.RawInputContents[0] = ByteString.CopyFrom(new byte[7]);
                break;
            case "three dimensions":
                request.Inputs[0].Shape.Add(1);
                break;
        }

        Assert.False(OneTensorMessage.TryRead(request.ToByteArray(), out _));
    }

    [Fact]
    public async Task Its_answer_is_byte_for_byte_the_general_one()
    {
        await using var host = await ServingHost.StartServingAsync();
        var inference = host.Area.Service<Inference>();
        foreach (var id in (string[])["", "short", "an-id-of-its-own", new string('i', 200)])
        {
            foreach (var rows in (int[])[1, 2, 300])
            {
                var request = Request("features", id, [.. Enumerable.Range(0, rows * 2).Select(i => i * 37f)]);
                var mine = InferScratch.Mine;
                var outcome = inference.Score(mine, ServingHost.Model, null, new RequestBody(new ReadOnlySequence<byte>(request.ToByteArray()), null, null, IsMessage: true));
                Assert.Null(outcome.Message);
                Assert.Null(mine.Tensors);
                var predictionId = Encoding.ASCII.GetString(mine.PredictionId);
                OneTensorAnswer.Write(mine, outcome.Arm!);
                var frame = mine.Response.Written.ToArray();
                Assert.Equal([0, .. BitConverter.GetBytes(frame.Length - 5).Reverse()], frame[..5]);

                var tensors = new TensorRequest();
                Assert.Null(GrpcTensors.Read(request, tensors));
                var general = inference.Score(mine, ServingHost.Model, null, RequestBody.Of(tensors));
                var expected = GrpcTensors.Answer(mine, general.Arm!);
                if (id.Length is < 12 or > 128)
                {
                    // Each has made an id of its own.
                    expected.Parameters["prediction_id"].StringParam = predictionId;
                    expected.Id = id.Length > 0 ? id : predictionId;
                }

                Assert.Equal(expected.ToByteArray(), frame[5..]);
            }
        }
    }

    [Fact]
    public async Task What_waits_counts_with_the_bytes_it_holds()
    {
        await using var host = await ServingHost.StartServingAsync();
        var queue = host.Router.Find(ServingHost.Model)!.Stable!.Model.Queue;
        queue.Settings = queue.Settings with { Instances = 1 };
        Assert.True(queue.TryEnter());
        var inference = host.Area.Service<Inference>();
        var waiting = new List<Task<Outcome>>();
        for (var i = 0; i < 5; i++)
        {
            var mine = InferScratch.Mine;
            var outcome = inference.Score(mine, ServingHost.Model, null, new RequestBody(new ReadOnlySequence<byte>(Request("features", "", 1, 2).ToByteArray()), null, null, IsMessage: true));
            Assert.True(outcome.MustWait, outcome.Message);
            Assert.Equal(2 * sizeof(float), mine.Bytes);
            waiting.Add(inference.WaitAsync(mine, outcome, TestContext.Current.CancellationToken));
        }

        queue.Leave(System.Diagnostics.Stopwatch.GetTimestamp());
        Assert.All(await Task.WhenAll(waiting), outcome => Assert.Equal((200, null), (outcome.Status, outcome.Message)));
    }

    [Fact]
    public async Task Another_name_is_refused_as_in_the_general_way()
    {
        await using var host = await ServingHost.StartServingAsync();
        var inference = host.Area.Service<Inference>();
        var request = Request("nothing of the kind", "", 1, 2);
        var mine = InferScratch.Mine;
        var first = inference.Score(mine, ServingHost.Model, null, new RequestBody(new ReadOnlySequence<byte>(request.ToByteArray()), null, null, IsMessage: true));
        var tensors = new TensorRequest();
        Assert.Null(GrpcTensors.Read(request, tensors));
        var general = inference.Score(mine, ServingHost.Model, null, RequestBody.Of(tensors));
        Assert.Equal((general.Status, general.Message), (first.Status, first.Message));
        Assert.Contains("'nothing of the kind' is not an input", first.Message, StringComparison.Ordinal);
    }
}
