using System.Buffers;
using System.Buffers.Binary;
using System.Diagnostics;
using System.Globalization;
using System.IO.Pipelines;
using Google.Protobuf;
using Microsoft.AspNetCore.Connections;
using Microsoft.AspNetCore.Http;
using Microsoft.AspNetCore.Http.Features;
using Microsoft.AspNetCore.Server.Kestrel.Core.Features;
using Slipway.Contracts;
using Slipway.Serving.Protocol;

namespace Slipway.Serving.Grpc;

/// <summary>One call: frames of five bytes and a message, both ways, over Kestrel's HTTP/2. https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md</summary>
internal sealed class GrpcCall : IDisposable
{
    private const int FrameHeader = 5;

    // As Kestrel asks of every other body.
    private const double BytesPerSecondMin = 240;

    private readonly HttpContext _context;
    private readonly int _messageBytesMax;
    private readonly long _deadline; // Stopwatch ticks; 0 for none.
    private readonly CancellationTokenSource? _expiry;
    private CancellationTokenSource? _stop;
    private TimeSpan? _messageWait; // Null where Kestrel watches over the whole body.
    private SequencePosition _peeked;
    private bool _ended;

    /// <exception cref="SlipwayException">InvalidArgument: the deadline cannot be read.</exception>
    public GrpcCall(HttpContext context, long messageBytesMax)
    {
        _context = context;
        _messageBytesMax = (int)Math.Min(messageBytesMax, int.MaxValue - FrameHeader);
        if (context.Features.Get<IHttpMaxRequestBodySizeFeature>() is { IsReadOnly: false } limit)
        {
            limit.MaxRequestBodySize = null; // Each message has its limit; a stream may hold any number of them.
        }

        if (context.Request.Headers["grpc-timeout"] is [{ } timeout])
        {
            var left = ParseTimeout(timeout);
            _deadline = Stopwatch.GetTimestamp() + (long)(left.TotalSeconds * Stopwatch.Frequency);
            _expiry = CancellationTokenSource.CreateLinkedTokenSource(context.RequestAborted);
            _expiry.CancelAfter(left);
        }
    }

    /// <summary>Ends with the caller, with its deadline, and for a stream with the server.</summary>
    public CancellationToken Cancelled => _stop?.Token ?? _expiry?.Token ?? _context.RequestAborted;

    /// <summary>Whether the caller's deadline has passed: its answer is not waited for any more.</summary>
    public bool IsExpired => _deadline != 0 && Stopwatch.GetTimestamp() >= _deadline;

    public void Dispose()
    {
        _stop?.Dispose();
        _expiry?.Dispose();
    }

    /// <summary>Whether the caller began a message and did not send the rest of it.</summary>
    public bool IsStalled { get; private set; }

    /// <summary>Takes away the least rate at which a body must arrive: a stream may be silent between its messages, until the server stops.</summary>
    /// <param name="messageWait">A message that has begun arrives at that rate after so long.</param>
    /// <param name="stopping">The server stops.</param>
    public void AllowSilence(TimeSpan messageWait, CancellationToken stopping)
    {
        _messageWait = messageWait;
        _stop = CancellationTokenSource.CreateLinkedTokenSource(Cancelled, stopping);
        if (_context.Features.Get<IHttpMinRequestBodyDataRateFeature>() is { } rate)
        {
            rate.MinDataRate = null;
        }
    }

    /// <summary>The next message; null when the caller has sent its last.</summary>
    /// <exception cref="SlipwayException">InvalidArgument, NotImplemented, TooLarge: it cannot be read.</exception>
    /// <exception cref="ConnectionResetException">The caller has gone.</exception>
    public async ValueTask<T?> ReadAsync<T>(MessageParser<T> parser)
        where T : class, IMessage<T>
    {
        var reader = _context.Request.BodyReader;
        long part = 0, began = 0;
        while (true)
        {
            var read = await ReadMoreAsync(reader, part, began);

            if (TryTake(read.Buffer, out var compressed, out var message))
            {
                var end = message.End;
                var parsed = Parse(parser, compressed ? await InflateAsync(message) : message);
                reader.AdvanceTo(end);
                return parsed;
            }

            if (read.IsCompleted)
            {
                var rest = read.Buffer.Length;
                reader.AdvanceTo(read.Buffer.End);
                return rest == 0 ? null : throw new SlipwayException(ErrorCode.InvalidArgument, $"The call ends inside a message, after {rest} of its bytes; send the whole frame.");
            }

            part = read.Buffer.Length;
            began = began == 0 && part > 0 ? Stopwatch.GetTimestamp() : began;
            reader.AdvanceTo(read.Buffer.Start, read.Buffer.End);
        }
    }

    /// <summary>The next message where it is here already, in one piece and not compressed. Then <see cref="Take"/> it, or leave it to <see cref="ReadAsync"/> by <see cref="PutBack"/>.</summary>
    public bool TryPeek(out ReadOnlySequence<byte> message)
    {
        message = default;
        var reader = _context.Request.BodyReader;
        ReadResult read;
        try
        {
            if (!reader.TryRead(out read))
            {
                return false;
            }
        }
        catch (IOException e) when (e is not BadHttpRequestException)
        {
            throw Gone(e);
        }

        _peeked = read.Buffer.Start;
        if (TryTake(read.Buffer, out var compressed, out message) && !compressed && message.IsSingleSegment)
        {
            return true;
        }

        PutBack();
        return false;
    }

    /// <summary>Ends the use of a message that was looked at.</summary>
    public void Take(in ReadOnlySequence<byte> message) => _context.Request.BodyReader.AdvanceTo(message.End);

    /// <summary>Lets the message that was looked at be read again.</summary>
    public void PutBack() => _context.Request.BodyReader.AdvanceTo(_peeked);

    /// <summary>Puts frames into the answer that are written already.</summary>
    public void Write(ReadOnlySpan<byte> frames)
    {
        BeginAnswer();
        _context.Response.BodyWriter.Write(frames);
    }

    /// <summary>Puts a message into the answer.</summary>
    public void Write(IMessage message)
    {
        BeginAnswer();
        var response = _context.Response;
        var header = response.BodyWriter.GetSpan(FrameHeader);
        header[0] = 0;
        BinaryPrimitives.WriteUInt32BigEndian(header[1..], (uint)message.CalculateSize());
        response.BodyWriter.Advance(FrameHeader);
        message.WriteTo((IBufferWriter<byte>)response.BodyWriter);
    }

    /// <summary>Sends what was written so far.</summary>
    public ValueTask<FlushResult> FlushAsync() => _context.Response.BodyWriter.FlushAsync(Cancelled);

    /// <summary>Ends the call after its messages; does nothing when it has been ended with a failure.</summary>
    public void End()
    {
        if (!_ended)
        {
            _context.Response.AppendTrailer("grpc-status", "0");
        }
    }

    /// <summary>Ends the call with a failure.</summary>
    public void Fail(int status, string message)
    {
        _ended = true;
        if (!_context.Response.HasStarted)
        {
            GrpcStatus.Write(_context.Response, status, message);
            return;
        }

        _context.Response.AppendTrailer("grpc-status", status.ToString(CultureInfo.InvariantCulture));
        _context.Response.AppendTrailer("grpc-message", GrpcStatus.Encode(message));
    }

    private void BeginAnswer()
    {
        var response = _context.Response;
        if (!response.HasStarted)
        {
            response.ContentType = "application/grpc";
            response.Headers["grpc-accept-encoding"] = "identity,deflate,gzip";
        }
    }

    private async ValueTask<ReadResult> ReadMoreAsync(PipeReader reader, long part, long began)
    {
        try
        {
            // A message that came with its headers is here already; only waiting for more needs the token, which costs an object.
            if (reader.TryRead(out var read))
            {
                return read;
            }

            if (part == 0 || _messageWait is not { } wait)
            {
                return await reader.ReadAsync(Cancelled);
            }

            var left = wait + TimeSpan.FromSeconds(part / BytesPerSecondMin) - Stopwatch.GetElapsedTime(began);
            using var limit = CancellationTokenSource.CreateLinkedTokenSource(Cancelled);
            limit.CancelAfter(left > TimeSpan.Zero ? left : TimeSpan.Zero);
            try
            {
                return await reader.ReadAsync(limit.Token);
            }
            catch (OperationCanceledException) when (!Cancelled.IsCancellationRequested)
            {
                IsStalled = true;
                throw;
            }
        }
        catch (IOException e) when (e is not BadHttpRequestException)
        {
            throw Gone(e);
        }
    }

    // Kestrel has several for it, and tells by its token only later.
    private static ConnectionResetException Gone(IOException e) => new("The caller has reset the stream, or its connection is gone.", e);

    private bool TryTake(in ReadOnlySequence<byte> buffer, out bool compressed, out ReadOnlySequence<byte> message)
    {
        compressed = false;
        message = default;
        if (buffer.Length < FrameHeader)
        {
            return false;
        }

        Span<byte> header = stackalloc byte[FrameHeader];
        buffer.Slice(0, FrameHeader).CopyTo(header);
        if (header[0] > 1)
        {
            throw new SlipwayException(ErrorCode.InvalidArgument, $"A message begins with the byte {header[0]}; it has to be 0, or 1 for a compressed one.");
        }

        var length = BinaryPrimitives.ReadUInt32BigEndian(header[1..]);
        if (length > _messageBytesMax)
        {
            throw TooLarge($"A message of {length} bytes");
        }

        compressed = header[0] == 1;
        if (buffer.Length < FrameHeader + length)
        {
            return false;
        }

        message = buffer.Slice(FrameHeader, length);
        return true;
    }

    private static T Parse<T>(MessageParser<T> parser, in ReadOnlySequence<byte> message)
        where T : class, IMessage<T>
    {
        if (typeof(T) == typeof(ModelInferRequest))
        {
            GrpcTensors.DemandFew(message);
        }

        try
        {
            return parser.ParseFrom(message);
        }
        catch (InvalidProtocolBufferException e)
        {
            throw new SlipwayException(ErrorCode.InvalidArgument, $"The message is not a {typeof(T).Name}, as this call takes it; see inference.proto.", e);
        }
    }

    private async ValueTask<ReadOnlySequence<byte>> InflateAsync(ReadOnlySequence<byte> message)
    {
        var encoding = _context.Request.Headers["grpc-encoding"].ToString();
        if (encoding is not ("gzip" or "deflate"))
        {
            throw new SlipwayException(ErrorCode.NotImplemented, $"grpc-encoding '{Quoted.Short(encoding)}' is not taken here; send gzip, deflate or no encoding.");
        }

        using var packed = new MemoryStream(message.ToArray());
        var (bytes, fault) = await CompressedBody.ReadAsync(packed, encoding, _messageBytesMax, Cancelled);
        return fault switch
        {
            InflateFault.None => new ReadOnlySequence<byte>(bytes),
            InflateFault.TooLarge => throw TooLarge("The message, once inflated,"),
            _ => throw new SlipwayException(ErrorCode.InvalidArgument, $"A message {CompressedBody.Words(fault, encoding)}, as its grpc-encoding says."),
        };
    }

    private SlipwayException TooLarge(string what) => new(ErrorCode.TooLarge, $"{what} is over the limit of {_messageBytesMax} bytes; send fewer rows at a time.");

    // Up to eight digits and a unit.
    private static TimeSpan ParseTimeout(string text)
    {
        var unit = text.Length is >= 2 and <= 9 ? text[^1] switch
        {
            'H' => TimeSpan.TicksPerHour,
            'M' => TimeSpan.TicksPerMinute,
            'S' => TimeSpan.TicksPerSecond,
            'm' => TimeSpan.TicksPerMillisecond,
            'u' => TimeSpan.TicksPerMicrosecond,
            'n' => 0.01,
            _ => 0,
        } : 0;
        return unit > 0 && uint.TryParse(text.AsSpan(0, text.Length - 1), NumberStyles.None, CultureInfo.InvariantCulture, out var number)
            ? TimeSpan.FromTicks((long)Math.Min(number * unit, TimeSpan.TicksPerDay * 30d))
            : throw new SlipwayException(ErrorCode.InvalidArgument, $"grpc-timeout '{Quoted.Short(text)}' is not a deadline such as 500m: up to eight digits and H, M, S, m, u or n.");
    }
}
