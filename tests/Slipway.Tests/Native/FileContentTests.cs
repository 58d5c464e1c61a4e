using Slipway.Native.Files;

namespace Slipway.Tests.Native;

public sealed class FileContentTests
{
    [Theory]
    [InlineData(0)]
    [InlineData(1)]
    [InlineData(3_000_000)]
    public void A_file_is_read_whole_and_its_bytes_are_gone_with_it(int length)
    {
        var path = Path.GetTempFileName();
        try
        {
            var bytes = new byte[length];
            new Random(1).NextBytes(bytes);
            File.WriteAllBytes(path, bytes);

            var content = FileContent.Read(path);
            Assert.True(bytes.AsSpan().SequenceEqual(content.Span));
            content.Dispose();
            content.Dispose();

            if (length > 0)
            {
                Assert.Throws<ObjectDisposedException>(() => content.Span.Length);
            }
        }
        finally
        {
            File.Delete(path);
        }
    }

    [Fact]
    public void A_file_that_is_not_there_is_told() =>
        Assert.Throws<FileNotFoundException>(() => FileContent.Read(Path.Combine(Path.GetTempPath(), Guid.NewGuid().ToString("N"))));
}
