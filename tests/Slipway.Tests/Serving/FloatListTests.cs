using System.Buffers;
using System.Globalization;
using System.Runtime.InteropServices;
using System.Text;
using System.Text.Json;
using Slipway.Serving.Protocol;

namespace Slipway.Tests.Serving;

/// <summary>The quick reader of number lists against .NET's own reader and parser.</summary>
public sealed class FloatListTests
{
    [Fact, Trait("database", "none")]
    public void Every_number_is_read_as_NET_itself_reads_it()
    {
        var random = new Random(20261128);
        var texts = new List<string>
        {
            "0", "-0", "0.0", "-0.0e5", "1", "-1", "10", "0.1", "16777217", "9007199254740993", "18446744073709551615", "18446744073709551616", "123456789012345678901234567890", "3.4028235e38", "3.4028234e+38",
            "1.17549435e-38", "1.1754942e-38", "1.4e-45", "7e-46", "1e-50", "0e99999", "1E5", "1e00000000005", "1.0000000596046448", "1.00000005960464477539062500", "1.00000005960464477539062501", "8388608.5", "8388609.5",
            "0.3", "1e22", "1e23", "123e-22", "5e-324", "2.2250738585072014e-308", "0.000000000000000000000000000000000000011754944",
        };
        for (var i = 0; i < 200_000; i++)
        {
            texts.Add((i % 8) switch
            {
                0 => BitConverter.Int32BitsToSingle(random.Next()) is var any && float.IsFinite(any) ? any.ToString("R", CultureInfo.InvariantCulture) : "7",
                1 => BitConverter.Int32BitsToSingle(random.Next()) is var any && float.IsFinite(any) ? any.ToString("E8", CultureInfo.InvariantCulture) : "7",
                2 => (random.NextDouble() * 1000).ToString("F" + random.Next(1, 12), CultureInfo.InvariantCulture),
                3 => random.NextInt64().ToString(CultureInfo.InvariantCulture),
                4 => (random.NextDouble() - 0.5).ToString("R", CultureInfo.InvariantCulture),
                // Just between two of FP32, and a little beside it.
                5 => ((double)BitConverter.Int32BitsToSingle(random.Next(0x3F000000, 0x4B000000)) + Math.ScaleB(1, -30)).ToString("R", CultureInfo.InvariantCulture),
                6 => Between(BitConverter.Int32BitsToSingle(random.Next(0x3F000000, 0x4B000000)), random.Next(3) - 1),
                _ => $"{random.Next(-5000, 5000)}.{random.Next(1000)}e{random.Next(-40, 36)}",
            });
        }

        foreach (var text in texts)
        {
            var expected = float.Parse(text, CultureInfo.InvariantCulture);
            var into = new float[1];
            var end = FloatList.Read(Encoding.UTF8.GetBytes(text + "]"), 1, into, 1);
            Assert.True(end == (float.IsFinite(expected) ? text.Length : -1), text);
            Assert.True(end < 0 || BitConverter.SingleToInt32Bits(expected) == BitConverter.SingleToInt32Bits(into[0]), $"{text}: {into[0]:R}, not {expected:R}");
        }
    }

    [Fact, Trait("database", "none")]
    public void What_JSON_does_not_allow_or_FP32_does_not_hold_is_left_to_the_ordinary_reader()
    {
        const string Alphabet = "0123456789-+.eE, [\"n\t";
        var random = new Random(7);
        var read = 0;
        for (var i = 0; i < 300_000; i++)
        {
            var text = string.Create(random.Next(1, 9), random, static (chars, random) =>
            {
                for (var at = 0; at < chars.Length; at++)
                {
                    chars[at] = Alphabet[random.Next(3) == 0 ? random.Next(Alphabet.Length) : random.Next(10)];
                }
            });
            var utf8 = Encoding.UTF8.GetBytes(text + "]");
            for (var count = 1; count <= 3; count++)
            {
                var into = new float[6];
                var end = FloatList.Read(utf8, count, into, 2);
                var expected = Ordinary("[" + text + "]", count);
                Assert.True(expected is null == end < 0, $"'{text}' as {count}");
                if (expected is not null)
                {
                    read++;
                    Assert.Equal(expected, into.Where((_, at) => at % 2 == 0).Take(count));
                    Assert.Equal(text.Length, end);
                }
            }
        }

        Assert.True(read > 10_000);
    }

    [Fact]
    public async Task A_request_is_read_alike_however_its_bytes_are_cut_and_its_fields_ordered()
    {
        await using var host = await ServingHost.StartServingAsync();
        var inference = host.Area.Service<Inference>();
        string[] bodies =
        [
            """{"inputs":[{"name":"features","datatype":"FP32","shape":[2,2],"data":[733, 8,\n 1e2,-0.5 ]}],"id":"an-id-behind-it"}""",
            """{"id":"an-id-before-it","inputs":[{"data":[733,8,100,-0.5],"shape":[2,2],"datatype":"FP32","name":"features"}]}""",
            """{"inputs":[{"name":"features","datatype":"FP32","shape":[2,2],"data":[[733,8],[100,-0.5]]}]}""",
            """{"inputs":[{"name":"calendar:hour","datatype":"FP32","shape":[2],"data":[8,-0.5]},{"name":"flight:distance","datatype":"FP32","shape":[2,1],"data":[733,100]}]}""",
            """{"inputs":[{"name":"calendar:hour","datatype":"FP32","data":[8,-0.5],"shape":[2]},{"name":"flight:distance","datatype":"FP32","shape":[2,1],"data":[733,100]}]}""",
        ];
        foreach (var body in bodies)
        {
            var bytes = Encoding.UTF8.GetBytes(body.Replace("\\n", "\n", StringComparison.Ordinal));
            for (var cut = 0; cut < bytes.Length; cut++)
            {
                var mine = InferScratch.Mine;
                var outcome = inference.Score(mine, ServingHost.Model, null, new RequestBody(Cut(bytes, cut), null, null));
                Assert.True(outcome.Message is null, outcome.Message);
                Assert.Equal([733, 8, 100, -0.5f], mine.Request.Features);
                Assert.Equal(body.Contains("an-id", StringComparison.Ordinal) ? body[(body.IndexOf("an-id", StringComparison.Ordinal))..][..15] : "", Encoding.UTF8.GetString(mine.Request.Id)[..Math.Min(15, mine.Request.Id.Length)]);
                mine.Release();
            }
        }

        // Behind the list as well, the place of a fault is that in the whole body.
        const string Broken = """{"inputs":[{"name":"features","datatype":"FP32","shape":[1,2],"data":[733,8]}],}""";
        var fault = inference.Score(InferScratch.Mine, ServingHost.Model, null, new RequestBody(Cut(Encoding.UTF8.GetBytes(Broken), 5), null, null));
        Assert.Equal(400, fault.Status);
        Assert.Contains($"(line 1, byte {Broken.Length - 1})", fault.Message, StringComparison.Ordinal);
    }

    [Fact, Trait("database", "none")]
    public void Tensors_are_read_alike_however_their_bytes_are_cut_and_their_fields_ordered()
    {
        const string Pair = """{"inputs":[{"name":"a","datatype":"FP32","shape":[2,2],"data":[1,2.5,\n-3e1 , 4]},{"name":"b","shape":[2],"datatype":"FP64","data":[5,6.25]}],"id":"x"}""";
        foreach (var body in new[]
        {
            Pair,
            """{"id":"x","inputs":[{"data":[1,2.5,-30,4],"shape":[2,2],"datatype":"FP32","name":"a"},{"name":"b","data":[5,6.25],"shape":[2],"datatype":"FP64"}]}""",
            Pair.Replace("[1,2.5,\\n-3e1 , 4]", "[[1,2.5],[-30,4]]", StringComparison.Ordinal),
            // Whatever is said last counts.
            Pair.Replace("\"data\":[1,2.5", "\"data\":[7,7,7,7],\"data\":[1,2.5", StringComparison.Ordinal),
            Pair.Replace("\"shape\":[2,2],\"data\":[1,2.5,\\n-3e1 , 4]", "\"shape\":[3],\"data\":[1,2.5,-30,4],\"shape\":[2,2]", StringComparison.Ordinal),
            Pair.Replace("\"shape\":[2,2],\"data\":[1,2.5,\\n-3e1 , 4]", "\"shape\":[4],\"data\":[1,2.5,-30,4],\"shape\":[2,2]", StringComparison.Ordinal),
        })
        {
            var bytes = Encoding.UTF8.GetBytes(body.Replace("\\n", "\n", StringComparison.Ordinal));
            for (var cut = 0; cut < bytes.Length; cut++)
            {
                var request = new TensorRequest();
                Assert.Null(TensorReader.Read(Cut(bytes, cut), null, request));
                Assert.Equal(["a", "b"], request.Inputs.Select(input => input.Name));
                Assert.Equal([1, 2.5f, -30, 4], MemoryMarshal.Cast<byte, float>(request.Inputs[0].Data.AsSpan()).ToArray());
                Assert.Equal([2, 2], request.Inputs[0].Shape);
                Assert.Equal([5, 6.25], MemoryMarshal.Cast<byte, double>(request.Inputs[1].Data.AsSpan()).ToArray());
                Assert.Equal("x", request.Id);
            }
        }

        foreach (var (wrong, why) in new[]
        {
            (Pair.Replace("4]", "4,5]", StringComparison.Ordinal), "'a'.data holds more values than its shape says (4)"),
            (Pair.Replace(" 4]", " 1e40]", StringComparison.Ordinal), "'a'.data[3] is"),
            (Pair.Replace("[2,2]", "[100000000]", StringComparison.Ordinal), "'a'.data holds 4 values, but its shape says 100000000"),
            (Pair.Replace("\"id\":\"x\"", "\"id\":x", StringComparison.Ordinal), $"(line 1, byte {Pair.Length - 5})"),
            (Pair.Replace("\"id\":\"x\"", "\"inputs\":[]", StringComparison.Ordinal), "'inputs' is there twice"),
        })
        {
            foreach (var cut in new[] { 0, 60 })
            {
                Assert.Contains(why, TensorReader.Read(Cut(Encoding.UTF8.GetBytes(wrong.Replace("\\n", " ", StringComparison.Ordinal)), cut), null, new TensorRequest()), StringComparison.Ordinal);
            }
        }
    }

    [Fact, Trait("database", "none")]
    public void A_size_that_is_only_named_takes_no_memory_however_often()
    {
        // Each would be two megabytes.
        var tensors = string.Join(',', Enumerable.Range(0, 2000).Select(i => $$"""{"name":"t{{i}}","datatype":"FP32","shape":[500000],"data":[1],"data":[],"shape":[0]}"""));
        var body = Encoding.UTF8.GetBytes($$"""{"inputs":[{{tensors}}],"padding":"{{new string('x', 2_000_000)}}"}""");
        var request = new TensorRequest();
        var before = GC.GetAllocatedBytesForCurrentThread();

        Assert.Null(TensorReader.Read(new ReadOnlySequence<byte>(body), null, request));

        Assert.Equal(2000, request.Inputs.Count);
        Assert.InRange(GC.GetAllocatedBytesForCurrentThread() - before, 0, 200 << 20);
    }

    private static ReadOnlySequence<byte> Cut(byte[] bytes, int at)
    {
        if (at == 0)
        {
            return new ReadOnlySequence<byte>(bytes);
        }

        var first = new Segment(bytes.AsMemory(0, at), null);
        return new ReadOnlySequence<byte>(first, 0, new Segment(bytes.AsMemory(at), first), bytes.Length - at);
    }

    private sealed class Segment : ReadOnlySequenceSegment<byte>
    {
        public Segment(ReadOnlyMemory<byte> memory, Segment? before)
        {
            Memory = memory;
            if (before is not null)
            {
                RunningIndex = before.RunningIndex + before.Memory.Length;
                before.Next = this;
            }
        }
    }

    // A float's digits and those of half a step more: just between two, or one unit of the last digit beside it.
    private static string Between(float value, int beside)
    {
        var middle = ((decimal)(double)value) + (((decimal)(double)MathF.BitIncrement(value) - (decimal)(double)value) / 2) + (beside * 0.0000000000000000001m);
        return middle.ToString(CultureInfo.InvariantCulture);
    }

    private static float[]? Ordinary(string json, int count)
    {
        var values = new List<float>();
        try
        {
            var reader = new Utf8JsonReader(Encoding.UTF8.GetBytes(json));
            reader.Read();
            while (reader.Read() && reader.TokenType != JsonTokenType.EndArray)
            {
                if (reader.TokenType != JsonTokenType.Number || !reader.TryGetSingle(out var value) || !float.IsFinite(value))
                {
                    return null;
                }

                values.Add(value);
            }

            reader.Read();
        }
        catch (JsonException)
        {
            return null;
        }

        return values.Count == count ? [.. values] : null;
    }
}
